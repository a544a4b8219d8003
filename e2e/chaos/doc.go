// Package chaos runs the whole relay under load and breaks it, and says what is wrong afterwards.
//
// One run is one seed: it decides the load, the settings, and the schedule of faults. A fault of the schedule is tied to a
// moment of the load, which is a number of changes that the source has acknowledged (see package load); a failpoint is
// tied to its own passages. No time decides what comes after what, so the same seed breaks the same things between the
// same changes. What threads and networks make of it differs from run to run.
//
//	plan.go      what a seed decides          run.go       one run from its start to its verdict
//	stage.go     what faults act on           finish.go    when all is applied, and what must be so then
//	classes.go   the list of the classes      report.go    a run's folder, verdict and summary
//	shrink.go    a shorter schedule           ledger.go    what is kept of runs
//	coverage.go  failpoints that never struck results.go   the page of all runs that were kept
//
// Each class of faults is a small type in a file of its own that begins with fault_: to add one, write the file and name
// it in classes.go.
//
// A fault that did not happen proves nothing. So each says how often it has struck, and how many changes the source took
// meanwhile; the summary of a run counts both, by class and by failpoint.
package chaos

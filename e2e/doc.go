// Package e2e runs the whole relay as its users do, breaks it, and compares source with target.
//
// The invariants that its tests, the demo and the benchmark check:
//
//  1. When the traffic has ended and nothing is pending, every document of the source is on the target byte for byte,
//     and the target has no other.
//  2. On the target's own change stream the version of a document only grows: no write is applied twice, none out of
//     order, none after a later one.
//  3. total = processed + failed + skipped + pending, and total less the skipped ones is the number of changes that the
//     source acknowledged.
//  4. All of that holds across kill -9 of any service and restarts of the servers, and while processors join, leave, die
//     and freeze, without a person doing anything but starting what ended.
//  5. A change that the target refuses for a reason of its document becomes a dead letter, it alone, and counts as failed.
//  6. Where schema changes are replicated (DDL=on), collections, views and indexes of both sides have the same definitions,
//     but for the value of an expiry.
//
// harness starts servers and services and waits on conditions; traffic writes to the source; fault breaks things; verify/live
// checks these invariants while the servers run. With E2E_RECORD=folder each run of traffic is recorded there as history
// describes it, and judged by verify, which knows more of them and nothing of the relay's code:
//
//	go run ./e2e/cmd/check folder/run
package e2e

package verify

import (
	"cmp"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"
)

// Invariant names what a finding breaks.
type Invariant string

// The invariants; see the package's comment.
const (
	I1      Invariant = "I1"
	I2      Invariant = "I2"
	I3      Invariant = "I3"
	I4      Invariant = "I4"
	I5      Invariant = "I5"
	I6      Invariant = "I6"
	I7      Invariant = "I7"
	I8      Invariant = "I8"
	I9      Invariant = "I9"
	I10     Invariant = "I10"
	I11     Invariant = "I11"
	I12     Invariant = "I12"
	Vacuity Invariant = "vacuity" // the run shows nothing: what it was to show did not happen
)

// rank orders the invariants as they are numbered.
func (i Invariant) rank() int {
	return slices.Index([]Invariant{I1, I2, I3, I4, I5, I6, I7, I8, I9, I10, I11, I12, Vacuity}, i)
}

// Finding is one violation.
type Finding struct {
	Invariant Invariant
	Kind      string // what it is, in one word or two: the same for the same kind of damage
	Document  string // that it is about; empty for none
	// Verdict says what happened, in at most three lines.
	Verdict string
	// At is when the record shows it first; zero where it cannot be said.
	At time.Time
	// Also are invariants that are broken by the same thing: they have no findings of their own about it.
	Also []Invariant
}

// String is the finding for people.
func (f *Finding) String() string {
	also := ""
	if len(f.Also) > 0 {
		also = fmt.Sprintf(" (and with it %s)", join(f.Also))
	}

	return fmt.Sprintf("%s %s%s: %s", f.Invariant, f.Kind, also, f.Verdict)
}

func join(invariants []Invariant) string {
	names := make([]string, len(invariants))
	for i := range invariants {
		names[i] = string(invariants[i])
	}

	return strings.Join(names, ", ")
}

// Figures say how much was looked at: a report without findings is worth as much as they are.
type Figures struct {
	Writes      int // of clients, by their result
	Failed      int
	Unknown     int
	Events      int // of the source, in the flow's namespaces
	Messages    int // of the stream
	Published   int // events in it
	Commits     int // of the target
	Applied     int // writes to documents of the target
	Documents   int // of the source at the end
	DeadLetters int
	Gaps        int
	Samples     int
	Consistent  int // of them
	Faults      int
	Split       int // transactions of the source whose writes of one partition did not commit together; see I4
	Together    int // those that did, of more than one write in a partition
	// Recovery is how long after the end of the last fault the state was OK; negative where it never was, or where
	// nothing was broken.
	Recovery time.Duration
}

// Report is what a check found.
type Report struct {
	Figures  Figures
	Findings []Finding
	// NotJudged says what the record does not allow to be judged, and why.
	NotJudged []string
}

// OK tells that every invariant holds in the record.
func (r *Report) OK() bool { return len(r.Findings) == 0 }

// Broken are the invariants that have findings, in order.
func (r *Report) Broken() []Invariant {
	var all []Invariant
	for i := range r.Findings {
		all = append(all, r.Findings[i].Invariant)
	}

	slices.SortFunc(all, func(a, b Invariant) int { return cmp.Compare(a.rank(), b.rank()) })

	return slices.Compact(all)
}

// mostPrinted bounds the findings of one kind that are printed; all are counted.
const mostPrinted = 5

// Write prints the report for people.
func (r *Report) Write(w io.Writer) error {
	var b strings.Builder

	if r.OK() {
		b.WriteString("every invariant holds\n")
	} else {
		fmt.Fprintf(&b, "%d violations: %s\n", len(r.Findings), join(r.Broken()))
	}

	printed := map[string]int{}

	for i := range r.Findings {
		f := &r.Findings[i]
		kind := string(f.Invariant) + " " + f.Kind

		if printed[kind]++; printed[kind] <= mostPrinted {
			fmt.Fprintf(&b, "\n%s\n", f)
		}
	}

	for i := range r.Findings {
		kind := string(r.Findings[i].Invariant) + " " + r.Findings[i].Kind
		if more := printed[kind] - mostPrinted; more > 0 {
			fmt.Fprintf(&b, "\n%s: %d more\n", kind, more)
			printed[kind] = 0
		}
	}

	b.WriteString("\n" + r.Figures.String())

	for _, what := range r.NotJudged {
		fmt.Fprintf(&b, "not judged: %s\n", what)
	}

	_, err := io.WriteString(w, b.String())

	return err
}

// String is the figures for people.
func (f *Figures) String() string {
	recovery := "was not measured"
	if f.Recovery >= 0 {
		recovery = fmt.Sprintf("took %s", f.Recovery.Round(time.Millisecond))
	}

	return fmt.Sprintf(`looked at %d writes (%d failed, %d of unknown result), %d events of the source, %d messages with %d events,
  %d commits with %d writes to documents, %d documents, %d dead letters, %d gaps, %d samples (%d consistent), %d faults
transactions of the source in one partition: %d committed together, %d did not
recovery after the last fault %s
`, f.Writes, f.Failed, f.Unknown, f.Events, f.Messages, f.Published, f.Commits, f.Applied, f.Documents, f.DeadLetters, f.Gaps,
		f.Samples, f.Consistent, f.Faults, f.Together, f.Split, recovery)
}

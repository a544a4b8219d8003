package verify

import (
	"fmt"
	"slices"

	"github.com/atlas-relay/atlas-relay/e2e/history"
)

// readFaults reads what was broken.
func (m *model) readFaults() error {
	return optional(history.Each(m.folder, history.FaultsFile, func(f *history.Fault) error {
		m.faults = append(m.faults, *f)
		m.report.Figures.Faults++

		return nil
	}))
}

// losesTail tells whether a fault has taken messages from the end of the stream.
func (m *model) losesTail() bool {
	return slices.ContainsFunc(m.faults, func(f history.Fault) bool { return f.LosesTail })
}

// judgeVacuity asks whether the run shows anything: each fault hit, while enough was written; the relay did work.
func (m *model) judgeVacuity() error {
	written := make([]int, len(m.faults))

	err := history.Each(m.folder, history.WritesFile, func(w *history.Write) error {
		if w.Result == history.Fail {
			return nil
		}

		for i := range m.faults { // written while it lasted, at least in part
			if f := &m.faults[i]; !w.Time.Before(f.From) && !w.Begun.After(f.To) {
				written[i]++
			}
		}

		return nil
	})
	if err != nil {
		return err
	}

	for i := range m.faults {
		f := &m.faults[i]
		find := func(kind, verdict string) {
			m.find(Finding{Invariant: Vacuity, Kind: kind, At: f.From, Verdict: fmt.Sprintf("%s %s at %s: %s", f.Class, f.Victim, m.since(f.From), verdict)})
		}

		if f.Hits < 1 {
			find("fault missed", "it was scheduled and did not hit")
		}

		if written[i] < m.limits.FaultChanges && !f.Quiet {
			find("idle fault", fmt.Sprintf("%d changes were written while it lasted, %d are asked for", written[i], m.limits.FaultChanges))
		}
	}

	figures := &m.report.Figures

	for _, f := range []struct {
		what   string
		n      int
		judged bool
	}{
		{"a write that the source acknowledged", figures.Writes - figures.Failed - figures.Unknown, true},
		{"an event of the source", figures.Events, true},
		{"an event in the stream", figures.Published, true},
		{"a commit of the target", figures.Commits, !m.meta.TargetBack},
		{"a write to a document of the target", figures.Applied, !m.meta.TargetBack},
	} {
		if f.n == 0 && f.judged {
			m.find(Finding{Invariant: Vacuity, Kind: "empty", Verdict: "the record does not show " + f.what})
		}
	}

	return nil
}

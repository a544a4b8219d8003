package apply_test

import (
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/atlas-relay/atlas-relay/pkg/checkpoint"
	"github.com/atlas-relay/atlas-relay/services/processor/internal/apply"
)

func TestJudge(t *testing.T) {
	t.Parallel()

	last := checkpoint.Document{Epoch: 3, Owner: 42, Commits: 7, Place: checkpoint.Place{StreamID: "s", Sequence: 10, Event: 10, Count: 4}}
	next := last
	next.Commits, next.Sequence, next.Event, next.Count = 8, 20, 20, 9

	tests := map[string]struct {
		change func(*checkpoint.Document) // of a copy of last
		absent bool
		want   apply.Verdict
	}{
		"as before":                       {want: apply.NotCommitted},
		"as the transaction leaves it":    {change: func(d *checkpoint.Document) { *d = next }, want: apply.Committed},
		"higher epoch":                    {change: func(d *checkpoint.Document) { d.Epoch, d.Owner = 4, 9 }, want: apply.Stale},
		"higher epoch, committed":         {change: func(d *checkpoint.Document) { *d = next; d.Epoch, d.Owner = 4, 9 }, want: apply.Stale},
		"same epoch, another owner":       {change: func(d *checkpoint.Document) { d.Owner = 9 }, want: apply.Stale},
		"absent":                          {absent: true, want: apply.WentBack},
		"lower epoch":                     {change: func(d *checkpoint.Document) { d.Epoch, d.Owner = 2, 9 }, want: apply.WentBack},
		"fewer commits":                   {change: func(d *checkpoint.Document) { d.Commits = 6 }, want: apply.WentBack},
		"commits ahead":                   {change: func(d *checkpoint.Document) { d.Commits = 9 }, want: apply.Unknown},
		"commits as before, moved":        {change: func(d *checkpoint.Document) { d.Sequence = 20 }, want: apply.Unknown},
		"commits raised, another place":   {change: func(d *checkpoint.Document) { *d = next; d.Sequence = 21 }, want: apply.Unknown},
		"commits raised, other counters":  {change: func(d *checkpoint.Document) { *d = next; d.Counters.Skipped = 1 }, want: apply.Unknown},
		"commits raised, another stream":  {change: func(d *checkpoint.Document) { *d = next; d.StreamID = "t" }, want: apply.Unknown},
		"commits raised, not moved":       {change: func(d *checkpoint.Document) { d.Commits = 8 }, want: apply.Unknown},
		"another generation, same commit": {change: func(d *checkpoint.Document) { *d = next; d.Generation = 1 }, want: apply.Unknown},
	}

	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()

			held := last
			if test.change != nil {
				test.change(&held)
			}

			require.Equal(t, test.want, apply.Judge(held, !test.absent, &last, &next))
		})
	}
}

// TestJudgeNeverTakesAnothersCheckpointForItsOwn is the one mistake that would
// apply something twice or lose it.
func TestJudgeNeverTakesAnothersCheckpointForItsOwn(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		small := rapid.Int64Range(0, 3)
		document := func(name string) checkpoint.Document {
			return checkpoint.Document{
				Epoch: small.Draw(t, name+" epoch"), Owner: small.Draw(t, name+" owner"), Commits: small.Draw(t, name+" commits"),
				Place: checkpoint.Place{Sequence: small.Draw(t, name+" sequence")},
			}
		}

		held, last := document("held"), document("last")
		next := last
		next.Commits++
		next.Sequence += rapid.Int64Range(1, 2).Draw(t, "events")

		switch apply.Judge(held, true, &last, &next) {
		case apply.Committed:
			require.Equal(t, next, held)
		case apply.NotCommitted:
			require.Equal(t, last, held)
		default:
			require.NotEqual(t, next, held)
			require.NotEqual(t, last, held)
		}
	})
}

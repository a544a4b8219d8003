package verify_test

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"
	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/atlas-relay/atlas-relay/pkg/event"
	"github.com/atlas-relay/atlas-relay/services/relayctl/internal/verify"
)

// TestRangesCoverEverythingOnce: what overlaps, or leaves something out, is refused.
func TestRangesCoverEverythingOnce(t *testing.T) {
	t.Parallel()

	var open bson.RawValue

	of := func(bounds ...bson.RawValue) []*verify.Range {
		ranges := make([]*verify.Range, len(bounds)/2)
		for i := range ranges {
			ranges[i] = &verify.Range{Namespace: event.Namespace{DB: "a", Coll: "b"}, From: bounds[2*i], To: bounds[2*i+1]}
		}

		return ranges
	}
	one, x := value(t, 1), value(t, "x")

	require.NoError(t, verify.Prove(of(open, open)))
	require.NoError(t, verify.Prove(of(open, one, one, x, x, open)))

	for name, ranges := range map[string][]*verify.Range{
		"the beginning is missing": of(one, open),
		"the end is missing":       of(open, one, one, x),
		"a hole":                   of(open, one, x, open),
		"all of it twice":          of(open, open, open, open),
		"a part twice":             of(open, x, one, open),
		"backwards":                of(open, x, x, one, one, open),
		"an empty one":             of(open, one, one, one, one, open),
	} {
		require.ErrorIs(t, verify.Prove(ranges), verify.ErrState, name)
	}
}

// TestResumeLeavesNothingOut: neither a collection that was made since, nor what comes before the last document where
// the server does not sort; and a state with a hole is refused.
func TestResumeLeavesNothingOut(t *testing.T) {
	t.Parallel()

	w := newWorld(t)
	w.partly(mixed(1000))
	w.config.Part, w.config.Rate, w.config.Jobs = 1_000_000, 200, 1

	ctx, cancel := context.WithCancel(t.Context())
	w.config.Watch = func(s verify.Snapshot) {
		if s.Documents > 100 {
			cancel()
		}
	}

	_, err := verify.Run(ctx, w.config)
	require.ErrorIs(t, err, context.Canceled)

	state := w.kept
	w.both("later", doc(1), doc(2))
	w.config.From, w.config.Rate, w.config.Watch = state, 0, func(verify.Snapshot) {}

	report := w.run()
	require.Equal(t, int64(1002), report.Totals.Documents)
	require.Len(t, report.Differences, 4, "%v", report.Differences)

	state.Ranges[0].From = raw(t, doc(5))
	_, err = verify.Run(t.Context(), w.config)
	require.ErrorIs(t, err, verify.ErrState)
}

// TestDisorder: where the server was to leave something out, all of the collection is read anew, without bounds; else the
// cursor goes on, but nobody can go on behind its last document.
func TestDisorder(t *testing.T) {
	t.Parallel()

	ns, other := event.Namespace{DB: "a", Coll: "b"}, event.Namespace{DB: "a", Coll: "c"}
	one := value(t, 1)

	kept := verify.KeptInDisorder(true, &verify.Range{Namespace: ns, To: one}, &verify.Range{Namespace: ns, From: one, Done: true}, &verify.Range{Namespace: other})
	require.Len(t, kept.Ranges, 2)
	require.Equal(t, "c", kept.Ranges[0].Coll)
	require.Equal(t, "b", kept.Ranges[1].Coll)
	require.False(t, kept.Ranges[1].Done)
	require.Nil(t, kept.Ranges[1].From)
	require.Nil(t, kept.Ranges[1].To)
	require.Zero(t, kept.Totals.Documents)

	kept = verify.KeptInDisorder(false, &verify.Range{Namespace: ns})
	require.Len(t, kept.Ranges, 1)
	require.Nil(t, kept.Ranges[0].Last)
	require.Zero(t, kept.Totals.Documents)
	require.Len(t, kept.Notes, 1)
}

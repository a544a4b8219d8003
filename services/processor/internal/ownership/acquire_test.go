package ownership

import (
	"math"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/atlas-relay/atlas-relay/pkg/checkpoint"
)

// TestEpochsNeverComeBack: whatever remembers an ownership counts.
func TestEpochsNeverComeBack(t *testing.T) {
	t.Parallel()

	for name, test := range map[string]struct {
		held  int64
		claim claim
		want  int64
	}{
		"first":                    {want: 1},
		"by the checkpoint":        {held: 7, claim: claim{lease: 3, consumers: []uint64{5, 6}}, want: 8},
		"by the lease":             {held: 2, claim: claim{lease: 9, consumers: []uint64{1}}, want: 10},
		"by a consumer":            {held: 2, claim: claim{lease: 1, consumers: []uint64{4, 11}}, want: 12},
		"by what this one had":     {held: 2, claim: claim{lease: 1, last: &checkpoint.Document{Epoch: 20}}, want: 21},
		"a consumer of a stranger": {held: 2, claim: claim{consumers: []uint64{math.MaxUint64}}, want: 3},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			require.Equal(t, test.want, test.claim.nextEpoch(test.held))
		})
	}
}

// TestClaim is what a processor makes of the checkpoint that it finds.
func TestClaim(t *testing.T) {
	t.Parallel()

	last := &checkpoint.Document{Epoch: 5, Owner: 1, Commits: 10}

	for name, test := range map[string]struct {
		held        checkpoint.Document
		gone        bool
		last        *checkpoint.Document
		mine        bool // last is of the same lease
		back, stale bool
	}{
		"never owned":                      {held: checkpoint.Document{Epoch: 3, Owner: 2}},
		"as it was left":                   {held: *last, last: last, mine: true},
		"one more commit, in doubt before": {held: checkpoint.Document{Epoch: 5, Owner: 1, Commits: 11}, last: last, mine: true},
		"another owner, another lease":     {held: checkpoint.Document{Epoch: 8, Owner: 2, Commits: 99}, last: last},
		"another owner, same lease":        {held: checkpoint.Document{Epoch: 8, Owner: 2, Commits: 99}, last: last, mine: true, stale: true},
		"gone":                             {gone: true, last: last, mine: true, back: true, stale: true},
		"gone, another lease":              {gone: true, last: last, back: true},
		"fewer commits":                    {held: checkpoint.Document{Epoch: 5, Owner: 1, Commits: 9}, last: last, mine: true, back: true},
		"older epoch of another":           {held: checkpoint.Document{Epoch: 4, Owner: 2, Commits: 9}, last: last, mine: true, back: true, stale: true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()

			c := claim{owner: 1, last: test.last, mine: test.mine}
			require.Equal(t, test.back, c.wentBack(&test.held, !test.gone))
			require.Equal(t, test.stale, c.isStale(&test.held), "asked only where it did not go back")
		})
	}
}

func TestIdentity(t *testing.T) {
	t.Parallel()

	i := Identity{ID: "9f3c", Host: "host 7", PID: 12}
	got, ttl, ok := parseIdentity(i.text(modelTTL))
	require.True(t, ok)
	require.Equal(t, Identity{ID: "9f3c", Host: "host_7", PID: 12}, got)
	require.Equal(t, modelTTL, ttl)

	for _, text := range []string{"", "nonsense", "id=a host=b pid=c ttl=5s", "id=a host=b pid=1 ttl=never", "id=a host=b pid=1 ttl=-1s", "id=a host=b pid=1"} {
		_, _, ok := parseIdentity(text)
		require.False(t, ok, text)
	}
}

package park

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/atlas-relay/atlas-relay/pkg/event"
)

// TestNumbersMayComeTwice: events of before and behind an accepted gap may have
// the same number. The target's refusal must reach the right one.
func TestNumbersMayComeTwice(t *testing.T) {
	t.Parallel()

	p := New(Policy{})
	l := &Lot{p: p}
	d := p.document("key")
	l.add(d, &Entry{ID: "before", Number: 7, Position: event.Position{T: 1}}, Apply)
	l.add(d, &Entry{ID: "behind", Number: 7, Position: event.Position{T: 2}}, Apply)

	require.Equal(t, int64(7), l.Items[0].Number)
	require.NotEqual(t, l.Items[0].Number, l.Items[1].Number)
}

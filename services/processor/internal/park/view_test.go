package park

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/atlas-relay/atlas-relay/pkg/event"
)

// TestOnlyWhatWasReadStandsStill: a view that was not read shows nothing that waits, which is no proof of anything.
func TestOnlyWhatWasReadStandsStill(t *testing.T) {
	t.Parallel()

	waits := []event.Position{{T: 7}}
	p := New(Policy{})
	p.Observe(View{Bytes: 1})
	unread := p.view
	p.Observe(View{Known: true, Earliest: waits})
	read := p.view
	require.False(t, read.standsStill(&unread))
	require.False(t, read.standsStill(&read), "the same one is no second look")

	p.Observe(View{Known: true, Earliest: waits})
	require.True(t, p.view.standsStill(&read))
}

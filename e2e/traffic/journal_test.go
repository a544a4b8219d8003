package traffic

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// TestDocumentThatLeavesNoTraceHasNoLatency is a document that is made and deleted in one batch, and comes back: its
// first two changes were applied long before the third one shows them. It was taken for a change that took twelve seconds.
func TestDocumentThatLeavesNoTraceHasNoLatency(t *testing.T) {
	t.Parallel()

	j := NewJournal()
	start := time.Now()
	write := func(at time.Duration, c change) {
		c.key = Key("document")
		j.begin([]change{c})
		j.acked([]change{c}, start.Add(at))
	}

	write(0, change{version: 1})
	write(time.Second, change{version: 2, deleted: true})
	write(12*time.Second, change{version: 3})
	write(13*time.Second, change{version: 4})
	j.Seen("document", 4, false, start.Add(14*time.Second))

	require.Equal(t, Latency{Changes: 2, P50: time.Second, P99: time.Second, Max: 2 * time.Second}, j.Latency())
	require.EqualValues(t, 4, j.Changes())
	require.Empty(t, j.open)

	write(20*time.Second, change{version: 5, deleted: true})
	j.Seen("document", 0, true, start.Add(23*time.Second))
	require.Equal(t, 3*time.Second, j.Latency().Max)
}

package chain_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/atlas-relay/atlas-relay/services/listener/internal/chain"
)

func TestWindowAsksForReplies(t *testing.T) {
	t.Parallel()

	start := time.Unix(1000, 0)

	tests := map[string]struct {
		messages int
		size     int
		dryLast  bool
		wait     time.Duration // before the last message
		asks     bool          // on the last one
	}{
		"first":              {messages: 1, size: 100, asks: true},
		"second":             {messages: 2, size: 100, asks: false},
		"dry":                {messages: 2, size: 100, dryLast: true, asks: true},
		"every hundredth":    {messages: 101, size: 100, asks: true},
		"after a mebibyte":   {messages: 3, size: 512 << 10, asks: true},
		"five ms later":      {messages: 2, size: 100, wait: 5 * time.Millisecond, asks: true},
		"just before five":   {messages: 2, size: 100, wait: 4 * time.Millisecond, asks: false},
		"hundredth minus on": {messages: 100, size: 100, asks: false},
	}

	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()

			var (
				window chain.Window
				asks   bool
				now    = start
			)

			for i := range test.messages {
				last := i == test.messages-1
				if last {
					now = now.Add(test.wait)
				}

				_, asks = window.Add(now, test.size, last && test.dryLast)
			}

			require.Equal(t, test.asks, asks)
		})
	}
}

// TestWindowProvesExactlyWhatWasAcked follows random messages and replies with
// a simple model: what is outstanding is what came after the last reply.
func TestWindowProvesExactlyWhatWasAcked(t *testing.T) {
	t.Parallel()

	rapid.Check(t, func(t *rapid.T) {
		var (
			window chain.Window
			sizes  []int // of all messages; message n is sizes[n-1]
			asked  []uint64
			proven uint64
			now    = time.Unix(1000, 0)
		)

		for range rapid.IntRange(1, 400).Draw(t, "steps") {
			now = now.Add(time.Duration(rapid.IntRange(0, 3).Draw(t, "ms")) * time.Millisecond)

			if len(asked) > 0 && (window.Full() || rapid.IntRange(0, 3).Draw(t, "reply") == 0) {
				// A later reply may overtake or stand for earlier ones.
				i := rapid.IntRange(0, len(asked)-1).Draw(t, "which")
				window.Acked(asked[i])
				proven = max(proven, asked[i])
				asked = asked[i+1:]
			} else {
				require.False(t, window.Full(), "full, and no reply is under way: nothing would go on")

				size := rapid.SampledFrom([]int{100, 1000, 1 << 20}).Draw(t, "size")
				number, ask := window.Add(now, size, rapid.IntRange(0, 20).Draw(t, "dry") == 0)
				sizes = append(sizes, size)
				require.Equal(t, uint64(len(sizes)), number)

				if ask {
					asked = append(asked, number)
				}
			}

			outstanding := 0
			for _, size := range sizes[proven:] {
				outstanding += size
			}

			messages, bytes := window.Outstanding()
			require.Equal(t, uint64(len(sizes))-proven, messages)
			require.Equal(t, outstanding, bytes)
			require.LessOrEqual(t, messages, uint64(1000))

			_, waiting := window.Deadline()
			require.Equal(t, len(asked) > 0, waiting)
		}
	})
}

func TestWindowDeadlineIsOfTheOldestRequest(t *testing.T) {
	t.Parallel()

	var window chain.Window

	start := time.Unix(1000, 0)
	first, _ := window.Add(start, 1, true)
	window.Add(start.Add(time.Second), 1, true)

	deadline, ok := window.Deadline()
	require.True(t, ok)
	require.Equal(t, start.Add(chain.AckTimeout), deadline)

	window.Acked(first)
	deadline, ok = window.Deadline()
	require.True(t, ok)
	require.Equal(t, start.Add(time.Second+chain.AckTimeout), deadline)
}

func TestWindowIsBounded(t *testing.T) {
	t.Parallel()

	tests := map[string]struct {
		size     int
		messages int // that fit
	}{
		"messages": {size: 1, messages: 1000},
		"bytes":    {size: 1 << 20, messages: 32},
	}

	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()

			var window chain.Window

			for range test.messages {
				require.False(t, window.Full())
				window.Add(time.Unix(1000, 0), test.size, false)
			}

			require.True(t, window.Full())
		})
	}
}

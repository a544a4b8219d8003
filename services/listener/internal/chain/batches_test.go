package chain_test

import (
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/atlas-relay/atlas-relay/services/listener/internal/chain"
)

func TestALoneEventGoesAtOnce(t *testing.T) {
	t.Parallel()

	var batches chain.Batches

	batches.Add(100, true)
	require.Equal(t, 1, batches.Next(time.Unix(1000, 0)))

	// The next ones wait for the reply and then go together.
	for range 5 {
		batches.Add(100, true)
		require.Zero(t, batches.Next(time.Unix(1000, 0)))
	}

	batches.Acked()
	require.Equal(t, 5, batches.Next(time.Unix(1001, 0)))
	require.Equal(t, uint64(6), batches.Sent())

	deadline, ok := batches.Deadline()
	require.True(t, ok)
	require.Equal(t, time.Unix(1001, 0).Add(chain.AckTimeout), deadline)
}

func TestBatchesAreBounded(t *testing.T) {
	t.Parallel()

	tests := map[string]struct {
		size     int
		messages int // that fit while another batch is in flight
	}{
		"messages": {size: 1, messages: 1000},
		"bytes":    {size: 1 << 20, messages: 8},
	}

	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()

			var batches chain.Batches

			batches.Add(1, true)
			require.Equal(t, 1, batches.Next(time.Unix(1000, 0)))

			for range test.messages {
				require.False(t, batches.Full())
				batches.Add(test.size, true)
			}

			require.True(t, batches.Full())
		})
	}
}

// TestAnEventInPartsStaysWhole lets a large event begin while the batch before
// fills up: it goes in one batch, unless it fits none.
func TestAnEventInPartsStaysWhole(t *testing.T) {
	t.Parallel()

	now := time.Unix(1000, 0)

	tests := map[string]struct {
		parts, size int
		sent        []int // messages of each batch after the small event's
	}{
		"of 20 MiB":           {parts: 20, size: 1 << 20, sent: []int{20}},
		"of 1000 parts":       {parts: 1000, size: 1 << 10, sent: []int{1000}},
		"larger than a batch": {parts: 40, size: 1 << 20, sent: []int{32, 8}},
		"of too many parts":   {parts: 2500, size: 1 << 10, sent: []int{1000, 1000, 500}},
	}

	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()

			var (
				batches chain.Batches
				sent    []int
			)

			batches.Add(100, true)
			require.Equal(t, 1, batches.Next(now))

			reply := func() {
				batches.Acked()

				if n := batches.Next(now); n > 0 {
					sent = append(sent, n)
				}
			}

			for part := range test.parts {
				for batches.Full() {
					reply()
				}

				batches.Add(test.size, part == test.parts-1)
				require.Zero(t, batches.Next(now), "one is in flight")
			}

			for range test.sent {
				reply()
			}

			require.Equal(t, test.sent, sent)
		})
	}
}

// TestBatchesFollowTheRules follows random events and replies with a simple
// model: which messages are proven, in flight and waiting.
func TestBatchesFollowTheRules(t *testing.T) {
	t.Parallel()

	rapid.Check(t, func(t *rapid.T) {
		var (
			batches chain.Batches
			sizes   []int // of all messages
			ends    []bool
			proven  int
			flying  int // up to this many were sent
			left    int // parts of the event that is being added
		)

		for step := range rapid.IntRange(1, 300).Draw(t, "steps") {
			now := time.Unix(1000, 0).Add(time.Duration(step) * time.Millisecond)

			if flying > proven && (batches.Full() || rapid.IntRange(0, 30).Draw(t, "reply") == 0) {
				batches.Acked()

				proven = flying
			} else {
				require.False(t, batches.Full(), "full, and no reply is under way: nothing would go on")

				if left == 0 {
					left = rapid.SampledFrom([]int{1, 1, 1, 1, 3, 20, 50}).Draw(t, "parts")
				}

				left--
				size := rapid.SampledFrom([]int{100, 1000, 1 << 20}).Draw(t, "size")
				batches.Add(size, left == 0)
				sizes, ends = append(sizes, size), append(ends, left == 0)
			}

			n := batches.Next(now)
			if flying > proven {
				require.Zero(t, n, "more than one in flight")
			}

			checkBatch(t, sizes[flying:], ends[flying:], n)

			flying += n
			require.Equal(t, uint64(flying), batches.Sent())

			if flying == proven {
				require.False(t, slices.Contains(ends[flying:], true), "a whole event waits and nothing is in flight")
			}

			checkOutstanding(t, &batches, sizes[proven:], flying > proven)
		}
	})
}

// checkBatch checks the next n of the messages that waited.
func checkBatch(t *rapid.T, sizes []int, ends []bool, n int) {
	if n == 0 {
		return
	}

	require.LessOrEqual(t, n, 1000)

	bytes := 0
	for _, size := range sizes[:n] {
		bytes += size
	}

	require.LessOrEqual(t, bytes, 33<<20)

	if !ends[n-1] {
		require.NotContains(t, ends[:n], true, "an event was cut although it could have gone whole with the next batch")
		require.True(t, n == 1000 || bytes >= 32<<20, "an event was cut that fits a batch")
	}
}

func checkOutstanding(t *rapid.T, batches *chain.Batches, sizes []int, flying bool) {
	bytes := 0
	for _, size := range sizes {
		bytes += size
	}

	messages, got := batches.Outstanding()
	require.Equal(t, uint64(len(sizes)), messages)
	require.Equal(t, bytes, got)

	_, waiting := batches.Deadline()
	require.Equal(t, flying, waiting)
}

package tally_test

import (
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/atlas-relay/atlas-relay/pkg/checkpoint"
	"github.com/atlas-relay/atlas-relay/pkg/event"
	"github.com/atlas-relay/atlas-relay/services/stats/internal/tally"
)

const streamID = "0123456789abcdef"

// noon is the present of the tests.
func noon() time.Time { return time.Unix(1_800_000_000, 0) }

// healthy is a flow of two partitions that has nothing to do.
func healthy() *tally.Input {
	return &tally.Input{
		Flow: "f",
		Now:  noon(),
		Stream: &tally.Stream{
			Name: "CDC_f", ID: streamID, FirstSequence: 1, LastSequence: 9, Messages: 9, Total: 10, Skipped: 3,
			Heads: []tally.Head{{Count: 4}, {Count: 3}},
		},
		Checkpoints: map[int]checkpoint.Document{
			0: settled(0, 4, checkpoint.Counters{Processed: 4, Batches: 2}),
			1: settled(1, 3, checkpoint.Counters{Processed: 2, Skipped: 1, Batches: 1}),
		},
		Reports: &tally.Reports{
			Listeners: []tally.Listener{{Instance: tally.Instance{ID: "l", Host: "h1"}, State: "STREAMING", CaptureLag: new(time.Duration(0))}},
			Processors: []tally.Processor{{Instance: tally.Instance{ID: "p", Host: "h2"}, Partitions: []tally.Ownership{
				{Partition: 0, State: "APPLYING", Epoch: 5, PendingBatchSize: 2, IsProcessing: true},
				{Partition: 1, State: "APPLYING", Epoch: 5, PendingBatchSize: 3},
			}}},
		},
		Still: true,
	}
}

func settled(partition int, count int64, counters checkpoint.Counters) checkpoint.Document {
	return checkpoint.Document{
		ID: checkpoint.ID("f", partition), Flow: "f", Partition: partition, Epoch: 5,
		Place: checkpoint.Place{StreamID: streamID, Count: count}, Counters: counters,
	}
}

func TestHealthyFlow(t *testing.T) {
	t.Parallel()

	s := tally.Count(healthy())

	require.Equal(t, tally.OK, s.Status)
	require.Empty(t, s.Reasons)
	require.Empty(t, s.NextStep)
	require.Empty(t, s.Unknown)
	require.Equal(t, uint64(10), *s.Total)
	require.Equal(t, uint64(6), *s.Processed)
	require.Equal(t, uint64(0), *s.Failed)
	require.Equal(t, uint64(4), *s.Skipped) // 3 by the listener, 1 at the target
	require.Equal(t, uint64(0), *s.Pending)
	require.Equal(t, uint64(3), *s.Batches)
	require.Equal(t, uint64(5), *s.PendingBatchSize)
	require.True(t, *s.IsProcessing)
	require.True(t, s.Consistent)
	require.True(t, *s.AddsUp)
	require.Equal(t, time.Duration(0), *s.Lag)
	require.Equal(t, "p", s.Partitions[1].Owner)
}

// A sample is made every second: what it allocates grows with the partitions, not with their square.
func TestLargeFlowsAllocateInProportion(t *testing.T) { //nolint:paralleltest // testing.AllocsPerRun wants to be alone
	allocations := func(partitions int) float64 {
		in := healthy()
		in.Stream.Heads = make([]tally.Head, partitions)
		in.Checkpoints = make(map[int]checkpoint.Document, partitions)

		for i := range partitions {
			in.Checkpoints[i] = settled(i, 0, checkpoint.Counters{})
		}

		return testing.AllocsPerRun(10, func() { tally.Count(in) })
	}

	require.Less(t, allocations(256), 8*allocations(64), "four times the partitions")
}

func TestWhatIsUnknownIsAbsent(t *testing.T) {
	t.Parallel()

	t.Run("target", func(t *testing.T) {
		t.Parallel()

		in := healthy()
		in.Checkpoints, in.Unknown = nil, []string{"target: away"}
		s := tally.Count(in)

		require.Equal(t, uint64(10), *s.Total)
		require.Nil(t, s.Processed)
		require.Nil(t, s.Failed)
		require.Nil(t, s.Skipped)
		require.Nil(t, s.Pending)
		require.Nil(t, s.Lag)
		require.Nil(t, s.AddsUp)
		require.False(t, s.Consistent)
		require.Equal(t, []string{"target: away"}, s.Unknown)
		require.False(t, s.NobodyAnswers())
	})

	t.Run("NATS", func(t *testing.T) {
		t.Parallel()

		in := healthy()
		in.Stream, in.Reports, in.Unknown = nil, nil, []string{"NATS: away"}
		s := tally.Count(in)

		require.Nil(t, s.Total)
		require.Nil(t, s.Skipped, "the listener's part of it is unknown")
		require.Nil(t, s.Pending)
		require.Nil(t, s.CaptureLag)
		require.Nil(t, s.PendingBatchSize)
		require.Equal(t, uint64(6), *s.Processed)
		require.Len(t, s.Partitions, 2)
		require.False(t, s.NobodyAnswers())
	})

	t.Run("both", func(t *testing.T) {
		t.Parallel()

		in := healthy()
		in.Stream, in.Checkpoints, in.Reports, in.Unknown = nil, nil, nil, []string{"NATS: away", "target: away"}
		s := tally.Count(in)
		require.True(t, s.NobodyAnswers())
	})

	t.Run("instances", func(t *testing.T) {
		t.Parallel()

		in := healthy()
		in.Reports.Listeners, in.Reports.Processors = nil, nil
		s := tally.Count(in)

		require.Nil(t, s.CaptureLag)
		require.Nil(t, s.PendingBatchSize)
		require.Nil(t, s.IsProcessing)
		require.Len(t, s.Unknown, 2)
	})
}

func TestLagIsTheAgeOfTheOldestPendingEvent(t *testing.T) {
	t.Parallel()

	at := func(seconds int) event.Position { return event.Position{T: uint32(noon().Unix()) - uint32(seconds)} }

	for name, test := range map[string]struct {
		oldest *tally.Waiting
		lag    *time.Duration
	}{
		"by the time it was stored":              {&tally.Waiting{Position: at(0), Stored: noon().Add(-5 * time.Millisecond)}, new(5 * time.Millisecond)},
		"by its cluster time, to the second":     {&tally.Waiting{Position: at(60), Stored: noon().Add(-time.Second)}, new(59 * time.Second)},
		"never negative when clocks differ":      {&tally.Waiting{Position: at(-60), Stored: noon().Add(time.Minute)}, new(time.Duration(0))},
		"unknown when the message was not found": {nil, nil},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()

			in := healthy()
			in.Stream.Total++
			in.Stream.Heads[1] = tally.Head{Count: 4, Oldest: test.oldest}
			s := tally.Count(in)

			require.Equal(t, uint64(1), *s.Pending)
			require.True(t, *s.AddsUp)
			require.Equal(t, test.lag, s.Lag)
			require.Equal(t, test.lag, s.Partitions[1].Lag)
			require.Equal(t, time.Duration(0), *s.Partitions[0].Lag)
		})
	}
}

// Parked events are pending, but one bad document is not the lag of its flow.
func TestParkedEventsArePending(t *testing.T) {
	t.Parallel()

	in := healthy()
	d := in.Checkpoints[1]
	d.Parked, d.Counters.Processed = 2, 0
	in.Checkpoints[1], in.Parked = d, &tally.Parked{Dead: 7}
	s := tally.Count(in)

	require.Equal(t, uint64(2), *s.Parked)
	require.Equal(t, uint64(2), *s.Pending)
	require.Equal(t, uint64(2), *s.Partitions[1].Pending)
	require.Equal(t, uint64(7), *s.DeadLetters)
	require.Equal(t, time.Duration(0), *s.Lag)
	require.True(t, *s.AddsUp)
	require.Equal(t, tally.Diverged, s.Status)
	require.Len(t, s.Reasons, 2)

	in.Checkpoints, in.Parked = nil, nil
	s = tally.Count(in)
	require.Nil(t, s.Parked)
	require.Nil(t, s.DeadLetters)
}

func TestBeforeTheFirstCheckpointNothingIsSettled(t *testing.T) {
	t.Parallel()

	in := healthy()
	in.Checkpoints = map[int]checkpoint.Document{0: {ID: "f/00", Partition: 0, Epoch: 5}} // acquired, nothing committed
	s := tally.Count(in)

	require.Equal(t, uint64(7), *s.Pending)
	require.Equal(t, uint64(0), *s.Processed)
	require.True(t, *s.AddsUp)
}

// The stream lost its tail after it was applied: until the listener has
// published it again nothing of it is pending, no sum is said of a moment that
// never was, and the state says why.
func TestHeadBehindTheCheckpoint(t *testing.T) {
	t.Parallel()

	in := healthy()
	in.Stream.Total, in.Stream.Heads[0].Count = 8, 2
	s := tally.Count(in)

	require.Equal(t, uint64(0), *s.Pending)
	require.False(t, s.Consistent)
	require.Nil(t, s.AddsUp)
	require.Equal(t, tally.Degraded, s.Status)
	require.Contains(t, s.Reasons[0], "the stream has lost its end: ")
	require.Contains(t, s.Reasons[0], " events that are applied are no longer in it")

	in.Stream.Generation = 1 // rewound: it is counted anew
	require.Equal(t, tally.OK, tally.Count(in).Status)
}

func TestAnotherGenerationIsMoving(t *testing.T) {
	t.Parallel()

	in := healthy()
	in.Stream.Generation = 1
	s := tally.Count(in)

	require.False(t, s.Consistent)
	require.Nil(t, s.AddsUp)
}

// Whatever the listener publishes and skips, and however far each partition has
// got, the four classes sum up to the total.
func TestAddsUpForEveryHistory(t *testing.T) {
	t.Parallel()

	rapid.Check(t, func(t *rapid.T) {
		partitions := rapid.IntRange(1, 8).Draw(t, "partitions")
		events := rapid.SliceOfN(rapid.IntRange(-1, partitions-1), 0, 200).Draw(t, "events") // -1: filtered

		in := healthy()
		in.Stream.Total, in.Stream.Skipped = uint64(len(events)), 0
		in.Stream.Heads = make([]tally.Head, partitions)

		for _, p := range events {
			if p < 0 {
				in.Stream.Skipped++
			} else {
				in.Stream.Heads[p].Count++
			}
		}

		in.Checkpoints = make(map[int]checkpoint.Document)

		var pending uint64

		for p, head := range in.Stream.Heads {
			done := rapid.Uint64Range(0, head.Count).Draw(t, "settled")
			failed := rapid.Uint64Range(0, done).Draw(t, "failed")
			skipped := rapid.Uint64Range(0, done-failed).Draw(t, "skipped")
			parked := rapid.Uint64Range(0, done-failed-skipped).Draw(t, "parked")
			pending += head.Count - done + parked

			if done > 0 || rapid.Bool().Draw(t, "has a checkpoint") {
				d := settled(p, int64(done), checkpoint.Counters{
					Processed: int64(done - failed - skipped - parked), Failed: int64(failed), Skipped: int64(skipped),
				})
				d.Parked = int64(parked)
				in.Checkpoints[p] = d
			}
		}

		s := tally.Count(in)
		if *s.Pending != pending {
			t.Fatalf("pending %d, want %d", *s.Pending, pending)
		}

		if !*s.AddsUp {
			t.Fatalf("does not add up: %s", s.Sum())
		}
	})
}

// What is said of reading the source is what the listener of the latest term says;
// a killed one's last report says STREAMING too, for a while.
func TestLagIsThatOfTheActiveListener(t *testing.T) {
	t.Parallel()

	for name, reports := range map[string][]tally.Listener{
		"it came later": {{State: "STREAMING", Term: 3, CaptureLag: new(time.Hour)}, {State: "STREAMING", Term: 4, CaptureLag: new(time.Second)}},
		"it came first": {{State: "STREAMING", Term: 4, CaptureLag: new(time.Second)}, {State: "STREAMING", Term: 3, CaptureLag: new(time.Hour)}},
		"a standby":     {{State: "STANDBY"}, {State: "STREAMING", Term: 4, CaptureLag: new(time.Second)}},
		"another's old term": {
			{State: "WAITING", Term: 9, CaptureLag: new(time.Second)}, {State: "STREAMING", Term: 4, CaptureLag: new(time.Hour)},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()

			in := healthy()
			in.Reports.Listeners = reports
			require.Equal(t, time.Second, *tally.Count(in).CaptureLag)
		})
	}
}

// Whatever their number, a person can read the reasons, and they leave none out.
func TestManyKindsOfUnsupportedEvents(t *testing.T) {
	t.Parallel()

	in := healthy()
	for n := range 10_000 {
		in.Unsupported = append(in.Unsupported, checkpoint.UnsupportedDocument{DB: "shop", Coll: strconv.Itoa(n), Operation: "drop", Events: 2, Diverges: true})
	}

	s := tally.Count(in)
	require.Equal(t, tally.Diverged, s.Status)
	require.Len(t, s.Reasons, 11)
	require.Equal(t, "drop on shop.0 was not applied (events: 2)", s.Reasons[0])
	require.Equal(t, "events of 9990 more kinds and namespaces were not applied (events: 19980)", s.Reasons[10])
}

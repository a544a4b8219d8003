package collect_test

import (
	"bytes"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/atlas-relay/atlas-relay/pkg/checkpoint"
	"github.com/atlas-relay/atlas-relay/pkg/event"
	"github.com/atlas-relay/atlas-relay/pkg/natstest"
	"github.com/atlas-relay/atlas-relay/services/stats/internal/collect"
	"github.com/atlas-relay/atlas-relay/services/stats/internal/deadletter"
	"github.com/atlas-relay/atlas-relay/services/stats/internal/tally"
)

// sampleWhile samples once; happen is called when it knows the tail, before it asks for the end of the first partition.
func sampleWhile(t *testing.T, w *world, happen func()) tally.Stats {
	t.Helper()

	js := natstest.Interrupt(w.js, event.PartitionFilter(w.name, 0), happen)

	s, err := collect.NewFlow(w.name, js, w.target, deadletter.New(w.name, w.target), startBook(t, w)).Sample(t.Context())
	require.NoError(t, err)

	return s
}

// part publishes a part of the event that comes next in a partition.
func (w *world) part(t *testing.T, partition, part int) {
	t.Helper()

	w.publish(t, &event.Message{
		Kind: event.KindEvent, Partition: partition, Namespace: event.Namespace{DB: "db", Coll: "c"}, StreamID: w.stream.StreamID,
		ResumeToken: emptyDocument(), Event: w.number + 1, Count: w.heads[partition] + 1,
		Position: event.Position{T: uint32(time.Now().Unix()), I: uint32(w.number)}, Part: part, Parts: 2, Size: 8, Attempt: 1, Payload: []byte("half"),
	})
}

// barrier publishes a schema change, or the copy of one.
func (w *world) barrier(t *testing.T, partition int) {
	t.Helper()

	count := w.heads[partition]
	if partition == 0 {
		count++
	}

	w.publish(t, &event.Message{
		Kind: event.KindBarrier, Partition: partition, StreamID: w.stream.StreamID, ResumeToken: emptyDocument(),
		Event: w.number + 1, Count: count, Position: event.Position{T: uint32(time.Now().Unix()), I: uint32(w.number)},
		Part: 1, Parts: 1, Attempt: 1, Payload: []byte("change"),
	})
}

// A sample is of one moment of the stream, whatever is published while it is taken.
func TestWhatMovesMeanwhileAddsUp(t *testing.T) {
	t.Parallel()

	for name, test := range map[string]struct {
		before, meanwhile func(t *testing.T, w *world)
		total             uint64
	}{
		"nothing": {total: 2},
		"events of every partition": {meanwhile: func(t *testing.T, w *world) { //nolint:thelper // a case, not a helper
			for range 2 {
				for partition := range partitions {
					w.event(t, partition, time.Now())
				}
			}
		}, total: 2},
		"a checkpoint": {meanwhile: func(t *testing.T, w *world) { //nolint:thelper // a case, not a helper
			_, err := checkpoint.Checkpoints(w.target).UpdateByID(t.Context(), checkpoint.ID(w.name, 1),
				bson.M{"$inc": bson.M{"commits": 1, "count": 1, "counters.processed": 1}})
			require.NoError(t, err)
		}, total: 2},
		"the rest of an event": {
			before:    func(t *testing.T, w *world) { w.part(t, 1, 1) }, //nolint:thelper // a case, not a helper
			meanwhile: func(t *testing.T, w *world) { w.part(t, 1, 2) }, //nolint:thelper // a case, not a helper
			total:     3,
		},
		"the first part of an event": {
			meanwhile: func(t *testing.T, w *world) { w.part(t, 1, 1) }, //nolint:thelper // a case, not a helper
			total:     2,
		},
		"a schema change": {meanwhile: func(t *testing.T, w *world) { //nolint:thelper // a case, not a helper
			for partition := partitions - 1; partition >= 0; partition-- {
				w.barrier(t, partition)
			}
		}, total: 2},
		"the rest of a schema change": {
			before: func(t *testing.T, w *world) { //nolint:thelper // a case, not a helper
				w.barrier(t, 3)
				w.barrier(t, 2)
			},
			meanwhile: func(t *testing.T, w *world) { //nolint:thelper // a case, not a helper
				w.barrier(t, 1)
				w.barrier(t, 0)
			},
			total: 2,
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()

			w := newWorld(t)
			w.create(t)
			w.event(t, 0, time.Now())
			w.event(t, 1, time.Now())
			w.settle(t, 0, 2)
			w.settle(t, 1, 3)

			if test.before != nil {
				test.before(t, w)
			}

			times := 0
			s := sampleWhile(t, w, func() {
				if times++; test.meanwhile != nil {
					test.meanwhile(t, w)
				}
			})

			require.Equal(t, 1, times, "once is enough")
			require.True(t, s.Consistent)
			require.Equal(t, test.total, *s.Total)
			require.Equal(t, test.total-2, *s.Pending)
			require.True(t, *s.AddsUp, s.Sum())
		})
	}
}

// A marker behind the tail has the counts of later. Nobody may be told that they add up.
func TestAMarkerMeanwhileIsNotConsistent(t *testing.T) {
	t.Parallel()

	w := newWorld(t)
	w.create(t)
	w.event(t, 0, time.Now())
	w.settle(t, 0, 2)

	times := 0
	js := natstest.Interrupt(w.js, event.MarkerSubject(w.name), func() {
		times++

		w.event(t, 0, time.Now())
		w.publish(t, w.marker(t))
	})

	s, err := collect.NewFlow(w.name, js, w.target, deadletter.New(w.name, w.target), startBook(t, w)).Sample(t.Context())
	require.NoError(t, err)
	require.Equal(t, 3, times, "it is tried again")
	require.False(t, s.Consistent)
	require.Nil(t, s.AddsUp)
	require.NotNil(t, s.Pending, "a number that moves is still one")
}

// Nothing is asked twice of a stream that stands still.
func TestAStillStreamIsReadOnce(t *testing.T) {
	t.Parallel()

	w := newWorld(t)
	w.create(t)
	w.event(t, 0, time.Now())

	asked := 0
	js := natstest.Interrupt(w.js, event.PartitionFilter(w.name, 0), func() { asked++ })
	f := collect.NewFlow(w.name, js, w.target, deadletter.New(w.name, w.target), startBook(t, w))

	first, err := f.Sample(t.Context())
	require.NoError(t, err)

	second := await(t, f, func(s *tally.Stats) bool { return s.Time.After(first.Time) })
	require.Equal(t, 1, asked)
	require.Equal(t, uint64(1), *second.Pending)

	// The checkpoint moves all the same.
	w.settle(t, 0, 2)
	await(t, f, func(s *tally.Stats) bool { return *s.Pending == 0 && *s.AddsUp })
	require.Equal(t, 1, asked)

	w.event(t, 0, time.Now())
	await(t, f, func(s *tally.Stats) bool { return *s.Pending == 1 && *s.Total == 2 })
	require.Equal(t, 2, asked)
}

// TestOldestPendingIsReadOnce: it may be of 1 MiB, and of a partition that waits it is the same one at each sample.
func TestOldestPendingIsReadOnce(t *testing.T) {
	t.Parallel()

	w := newWorld(t)
	w.create(t)

	now := time.Now()
	for hours := range 4 { // messages 2 to 5
		w.event(t, 0, now.Add(time.Duration(hours-9)*time.Hour-time.Minute))
	}

	requests, err := w.nc.SubscribeSync("$JS.API.STREAM.MSG.GET." + w.stream.Name())
	require.NoError(t, err)

	// asked counts the requests for a message by where it stands, since it was called last.
	asked := func() (n int) {
		require.NoError(t, w.nc.Flush(), "the server's copies of them may come behind the answers")

		unread, _, err := requests.Pending()
		require.NoError(t, err)

		for range unread {
			m, err := requests.NextMsg(time.Second)
			require.NoError(t, err)

			if bytes.Contains(m.Data, []byte(`"next_by_subj"`)) {
				n++
			}
		}

		return n
	}

	f := w.flow(t)
	last := tally.Stats{}
	// sampled waits for a new sample, and returns how many hours ago its oldest pending change was.
	sampled := func(condition func(*tally.Stats) bool) int {
		before := last.Time
		last = await(t, f, func(s *tally.Stats) bool { return s.Time.After(before) && condition(s) })

		return int(last.Partitions[0].Lag.Hours())
	}
	pending := func(n uint64) func(*tally.Stats) bool { return func(s *tally.Stats) bool { return *s.Pending == n } }

	require.Equal(t, 9, sampled(pending(4)))
	require.Equal(t, 1, asked())
	require.Equal(t, 9, sampled(pending(4)))
	require.Zero(t, asked(), "it stands where it stood")

	w.settle(t, 0, 2)
	require.Equal(t, 8, sampled(pending(3)))
	require.Equal(t, 1, asked(), "the checkpoint has moved")

	// Somebody purges what was not applied.
	require.NoError(t, w.stream.Purge(t.Context(), 4))
	require.Equal(t, 7, sampled(func(s *tally.Stats) bool { return s.Stream.FirstSequence == 4 }))
	require.NotZero(t, asked(), "it is gone")
}

package main

import (
	"context"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/atlas-relay/atlas-relay/pkg/checkpoint"
	"github.com/atlas-relay/atlas-relay/pkg/event"
)

// traffic is a steady stream of events: each document's version grows by one with
// each round over all of them, so that a lost, repeated or overtaken event is
// seen.
type traffic struct {
	stop chan struct{}
	done chan struct{}
	once sync.Once
	sent atomic.Int64 // events, inserts included

	ids     []int // of the documents: the same number in each partition
	version int   // of every document, once done
}

// write sends a round of updates of so many documents of each partition every
// pace until end is called.
func (w *world) write(t *testing.T, documents int, pace time.Duration) *traffic {
	t.Helper()

	f := &traffic{stop: make(chan struct{}), done: make(chan struct{}), ids: w.spread(t, documents)}

	for _, id := range f.ids {
		w.insert(t, id, bson.E{Key: "v", Value: 0})
		f.sent.Add(1)
	}

	go func() {
		defer close(f.done)

		ticker := time.NewTicker(pace)
		defer ticker.Stop()

		for {
			select {
			case <-ticker.C:
			case <-f.stop:
				return
			}

			f.version++

			for _, id := range f.ids {
				w.increment(t, id, f.version) //nolint:testifylint // a failure ends the traffic, and the test by its counters
				f.sent.Add(1)
			}
		}
	}()

	t.Cleanup(f.end)

	return f
}

// spread returns _ids of so many documents for each partition.
func (w *world) spread(t *testing.T, documents int) []int {
	t.Helper()

	var ids []int

	load := make([]int, w.partitions)
	for id := 0; len(ids) < documents*w.partitions; id++ {
		key, err := event.NewKey(w.ns, marshal(t, bson.D{{Key: "", Value: id}}).Lookup(""))
		require.NoError(t, err)

		if p := key.Partition(w.partitions); load[p] < documents {
			load[p]++

			ids = append(ids, id)
		}
	}

	return ids
}

// increment writes the document's version, and one field of several.
func (w *world) increment(t *testing.T, id, version int) {
	t.Helper()

	field := "v" + strconv.Itoa(version%fields)
	w.set(t, id, bson.E{Key: "v", Value: version}, bson.E{Key: field, Value: version})
}

// fields of a document that take turns in being written.
const fields = 4

// end stops the traffic; once is enough.
func (f *traffic) end() {
	f.once.Do(func() { close(f.stop) })
	<-f.done
}

// awaitApplied waits until everything that was sent is counted, once.
func (w *world) awaitApplied(t *testing.T, f *traffic) {
	t.Helper()
	w.awaitSettled(t, checkpoint.Counters{Processed: f.sent.Load()})
}

// pauses watches how long partitions that are written to are not committed to.
type pauses struct {
	stop chan struct{}
	done chan struct{}

	longest time.Duration // of any partition, since the last reset
	reset   chan chan time.Duration
}

func (w *world) watchPauses(t *testing.T) *pauses {
	t.Helper()

	p := &pauses{stop: make(chan struct{}), done: make(chan struct{}), reset: make(chan chan time.Duration)}

	go func() {
		defer close(p.done)

		commits, since := map[int]int64{}, map[int]time.Time{}
		ticker := time.NewTicker(10 * time.Millisecond)

		defer ticker.Stop()

		for {
			select {
			case <-ticker.C:
			case answer := <-p.reset:
				answer <- p.longest
				p.longest = 0
			case <-p.stop:
				return
			}

			all, err := checkpoint.Load(context.WithoutCancel(t.Context()), w.target, w.flow)
			if err != nil {
				continue
			}

			now := time.Now()
			for number, d := range all {
				if _, known := since[number]; known && d.Commits == commits[number] {
					p.longest = max(p.longest, now.Sub(since[number]))

					continue
				}

				commits[number], since[number] = d.Commits, now
			}
		}
	}()

	t.Cleanup(func() {
		close(p.stop)
		<-p.done
	})

	return p
}

// take returns the longest pause since the last call.
func (p *pauses) take() time.Duration {
	answer := make(chan time.Duration)
	p.reset <- answer

	return <-answer
}

// requireWhole compares every document with what the events make of it.
func (w *world) requireWhole(t *testing.T, f *traffic) {
	t.Helper()

	n, err := w.target.Database(w.ns.DB).Collection(w.ns.Coll).CountDocuments(t.Context(), bson.D{})
	require.NoError(t, err)
	require.Equal(t, int64(len(f.ids)), n)

	want := bson.D{{Key: "v", Value: f.version}}
	for i := range fields {
		want = append(want, bson.E{Key: "v" + strconv.Itoa(i), Value: f.version - (f.version+fields-i)%fields})
	}

	for _, id := range f.ids {
		var got bson.M
		require.NoError(t, bson.Unmarshal(w.document(t, id), &got))

		for _, field := range want {
			require.EqualValues(t, field.Value, got[field.Key], "%d %s", id, field.Key)
		}
	}

	all, err := checkpoint.Load(t.Context(), w.target, w.flow)
	require.NoError(t, err)

	for number, d := range all {
		require.Equal(t, int64(w.counts[number]), d.Count, "partition %d", number)
	}
}

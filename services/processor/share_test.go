package main

import (
	"context"
	"os"
	"os/exec"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/atlas-relay/atlas-relay/pkg/checkpoint"
	"github.com/atlas-relay/atlas-relay/pkg/event"
	relayv1 "github.com/atlas-relay/atlas-relay/proto/relay/v1"
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

// owners returns how many partitions each processor applies, by instance, and
// whether all are applied by one each.
func (w *world) owners(t *testing.T) (load map[string]int, whole bool) {
	t.Helper()

	all, err := checkpoint.Load(t.Context(), w.target, w.flow)
	if err != nil {
		return nil, false
	}

	load = map[string]int{}
	owned := 0

	for _, r := range w.reports(t) {
		load[r.GetInstance().GetId()] = 0

		for _, p := range r.GetPartitions() {
			// The report of one that was killed or frozen stays.
			current := uint64(all[int(p.GetPartition())].Epoch) == p.GetEpoch()
			if p.GetState() == relayv1.PartitionState_PARTITION_STATE_APPLYING && current {
				load[r.GetInstance().GetId()]++
				owned++
			}
		}
	}

	return load, owned == w.partitions
}

// awaitShared waits until so many processors report and each applies its share.
func (w *world) awaitShared(t *testing.T, processors int) {
	t.Helper()

	var last map[string]int

	require.Eventually(t, func() bool {
		load, whole := w.owners(t)
		last = load

		if !whole || len(load) != processors {
			return false
		}

		for _, n := range load {
			if n < w.partitions/processors || n > (w.partitions+processors-1)/processors {
				return false
			}
		}

		return true
	}, patience, glance, "%d processors: %v", processors, &last)
}

// TestProcessorsComeAndGo shares the partitions among 1, 3, 2 and 5 processors
// while events flow.
func TestProcessorsComeAndGo(t *testing.T) {
	t.Parallel()

	w := newWorld(t)
	w.init(t)

	f := w.write(t, 4, 50*time.Millisecond)

	// Settings of batches need not agree.
	ttl := map[string]string{"LEASE_TTL": "1m"}
	running := []*processor{w.start(t, map[string]string{"LEASE_TTL": "1m", "BATCH_SIZE": "7", "BATCH_EAGER": "false", "BATCH_IDLE_TIMEOUT": "20ms"})}
	w.awaitShared(t, 1)

	watch := w.watchPauses(t)

	for _, want := range []int{3, 2, 5, 1} {
		watch.take()

		for len(running) < want {
			running = append(running, w.start(t, ttl))
		}

		for len(running) > want {
			require.NoError(t, running[0].end())
			running = running[1:]
		}

		w.awaitShared(t, want)

		pause := watch.take()
		t.Logf("now %d processors: a partition paused at most %s, of which up to 50ms for want of events", want, pause)

		// A second is promised; a machine that is busy with other tests adds its own. A
		// lease that was not released would cost its TTL.
		require.Less(t, pause, 5*time.Second)

		for _, p := range running {
			p.awaitReady(t)
		}
	}

	f.end()
	w.awaitApplied(t, f)
	w.requireWhole(t, f)
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

// child is a processor in a process of its own, which can be killed and frozen.
type child struct {
	addr string
	cmd  *exec.Cmd
}

func (w *world) startChild(t *testing.T, extra map[string]string) *child {
	t.Helper()

	environ := w.environ(t, extra)
	c := &child{addr: environ["OPS_ADDR"], cmd: exec.CommandContext(context.WithoutCancel(t.Context()), os.Args[0])}
	c.cmd.Env = []string{childMark + "=1"}
	c.cmd.Stderr = os.Stderr

	for name, value := range environ {
		c.cmd.Env = append(c.cmd.Env, name+"="+value)
	}

	require.NoError(t, c.cmd.Start())
	t.Cleanup(func() {
		_ = c.cmd.Process.Kill()
		_ = c.cmd.Wait()
	})

	return c
}

func (c *child) signal(t *testing.T, s os.Signal) {
	t.Helper()
	require.NoError(t, c.cmd.Process.Signal(s))
}

const testTTL = 2 * time.Second

// TestProcessorsThatDieAndFreeze: the others take over after LEASE_TTL; who wakes
// up writes nothing late, and takes part again.
func TestProcessorsThatDieAndFreeze(t *testing.T) {
	t.Parallel()

	ttl := map[string]string{"LEASE_TTL": testTTL.String()}
	w := newWorld(t)
	w.init(t)

	f := w.write(t, 4, 50*time.Millisecond)
	w.start(t, ttl)
	frozen, killed := w.startChild(t, ttl), w.startChild(t, ttl)
	w.awaitShared(t, 3) // who wakes up takes its share again, too

	watch := w.watchPauses(t)

	killed.signal(t, syscall.SIGKILL)
	w.awaitMoving(t, watch, "kill -9")

	for range 2 {
		frozen.signal(t, syscall.SIGSTOP)
		w.awaitMoving(t, watch, "freeze")
		frozen.signal(t, syscall.SIGCONT)
		require.Eventually(t, func() bool {
			load, whole := w.owners(t)
			working := 0

			for _, n := range load {
				if n == w.partitions/2 {
					working++
				}
			}

			return whole && working == 2
		}, patience, glance)
	}

	f.end()
	w.awaitApplied(t, f)
	w.requireWhole(t, f)
}

// awaitMoving waits until every partition is applied again.
func (w *world) awaitMoving(t *testing.T, watch *pauses, what string) {
	t.Helper()
	watch.take()

	began := time.Now()

	before, err := checkpoint.Load(t.Context(), w.target, w.flow)
	require.NoError(t, err)

	require.Eventually(t, func() bool {
		now, err := checkpoint.Load(t.Context(), w.target, w.flow)
		if err != nil {
			return false
		}

		for number := range w.partitions {
			// Several commits: the last ones of the one that is gone may be among them.
			if now[number].Commits < before[number].Commits+5 {
				return false
			}
		}

		return true
	}, patience, glance)

	t.Logf("%s: every partition applied again after %s; the longest pause was %s", what, time.Since(began), watch.take())
	require.Less(t, time.Since(began), testTTL+2*time.Second)
}

// TestMoreProcessorsThanPartitions: those without a partition stand by, ready.
func TestMoreProcessorsThanPartitions(t *testing.T) {
	t.Parallel()

	w := newWorld(t)
	w.partitions = 2
	w.init(t)
	w.insert(t, 1)

	var all []*processor
	for range 4 {
		all = append(all, w.start(t, nil))
	}

	w.awaitShared(t, 4)

	for _, p := range all {
		p.awaitReady(t)
	}

	// Whoever stops, somebody is there.
	for left := 3; left > 0; left-- {
		require.NoError(t, all[left].end())
		w.awaitShared(t, left)
		w.insert(t, 10+left)
	}

	w.awaitSettled(t, checkpoint.Counters{Processed: 4})
}

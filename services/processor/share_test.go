package main

import (
	"context"
	"os"
	"os/exec"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/atlas-relay/atlas-relay/pkg/checkpoint"
	relayv1 "github.com/atlas-relay/atlas-relay/proto/relay/v1"
)

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

		// A second is promised, and measured by make bench. A lease that was not
		// released would cost its TTL.
		require.Less(t, pause, 30*time.Second)

		for _, p := range running {
			p.awaitReady(t)
		}
	}

	f.end()
	w.awaitApplied(t, f)
	w.requireWhole(t, f)
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

// awaitMoving waits until every partition is applied again. How soon that is, make
// bench measures: here other tests keep the machine busy.
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

package barrier_test

import (
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/atlas-relay/atlas-relay/services/processor/internal/barrier"
)

const (
	schedules  = 4000
	partitions = 4
	processors = 3
	faulty     = 400   // steps with faults
	patience   = 60000 // steps after them in which everything must end
)

// TestSchemaChangesTakeEffectOnceInOrder is the promise, whoever crashes, freezes or takes a partition over at any step:
// a command runs when every partition has applied what came before it and nothing that comes after, and tries nothing
// that it set aside before; it takes effect once, in the order of the stream; and nobody waits for ever.
func TestSchemaChangesTakeEffectOnceInOrder(t *testing.T) {
	t.Parallel()

	seed := rand.Uint64()

	if given := os.Getenv("BARRIER_SEED"); given != "" {
		var err error
		seed, err = strconv.ParseUint(given, 10, 64)
		require.NoError(t, err)
	}

	var seen counts

	for run := range uint64(schedules) {
		w := newWorld(rand.New(rand.NewPCG(seed, run)))
		if err := w.play(); err != nil {
			t.Fatalf("BARRIER_SEED=%d, schedule %d: %v", seed, run, err)
		}

		seen.add(&w.seen)
	}

	t.Logf("BARRIER_SEED=%d: %+v", seed, seen)
	require.NotZero(t, seen.Again, "no command was run a second time")
	require.NotZero(t, seen.Stale)
	require.NotZero(t, seen.Void)
	require.NotZero(t, seen.Held)
	require.NotZero(t, seen.Marked)
	require.NotZero(t, seen.Left)
}

// counts are what schedules came across.
type counts struct{ Effects, Again, Stale, Void, Held, Marked, Tried, Crashes, Freezes, Restored, Left int }

func (c *counts) add(o *counts) {
	c.Effects += o.Effects
	c.Again += o.Again
	c.Stale += o.Stale
	c.Void += o.Void
	c.Held += o.Held
	c.Marked += o.Marked
	c.Tried += o.Tried
	c.Crashes += o.Crashes
	c.Freezes += o.Freezes
	c.Restored += o.Restored
	c.Left += o.Left
}

// message of a partition; its position is its event number too.
type message struct {
	at      int
	barrier bool
}

// world is the stream, the target and the processors.
type world struct {
	r    *rand.Rand
	seen counts

	messages [partitions][]message
	data     [partitions][]int // positions of data
	real     []int             // positions of schema changes that partition 0 carries
	end      int

	// The target.
	checkpoints [partitions]held
	document    barrier.Document
	effects     []int
	parked      [partitions][]int // positions of events set aside

	saved  *backup
	epochs [partitions]int64 // the highest ever

	holder     [partitions]int // of the lease; -1: nobody
	leases     [partitions]int // how many there were
	processors [processors]processor
	broken     error
}

// backup is the target at some time.
type backup struct {
	checkpoints [partitions]held
	document    barrier.Document
	effects     []int
	parked      [partitions][]int
}

// held is a checkpoint.
type held struct {
	epoch   int64
	commits int64
	at      int // position
	settled int // data events
}

type processor struct {
	frozen bool
	lanes  map[int]*lane
}

func newWorld(r *rand.Rand) *world {
	w := &world{r: r}

	for i := range w.holder {
		w.holder[i] = -1
	}

	for i := range w.processors {
		w.processors[i].lanes = map[int]*lane{}
	}

	for range 5 + r.IntN(15) {
		w.end++

		switch r.IntN(6) {
		case 0, 1: // a schema change
			for p := range partitions {
				w.messages[p] = append(w.messages[p], message{w.end, true})
			}

			w.real = append(w.real, w.end)
		case 2: // one that was not finished: some copies, the change never came
			for p := 1 + r.IntN(partitions-1); p < partitions; p++ {
				w.messages[p] = append(w.messages[p], message{w.end, true})
			}
		default:
			p := r.IntN(partitions)
			w.messages[p] = append(w.messages[p], message{w.end, false})
			w.data[p] = append(w.data[p], w.end)
		}
	}

	w.end++ // where the last marker is

	return w
}

func (w *world) play() error {
	for range faulty {
		w.fault()
		w.step()

		if w.broken != nil {
			return w.broken
		}
	}

	for i := range w.processors {
		w.processors[i].frozen = false
	}

	for range patience {
		if w.done() {
			return w.broken
		}

		w.step()

		if w.broken != nil {
			return w.broken
		}
	}

	return fmt.Errorf("somebody waits for ever: checkpoints %v, effects %v of %v, document %+v", w.checkpoints, w.effects, w.real, w.document)
}

func (w *world) done() bool {
	if len(w.effects) < len(w.real) {
		return false
	}

	for p := range partitions {
		if w.checkpoints[p].settled < len(w.data[p]) || len(w.parked[p]) > 0 {
			return false
		}
	}

	return true
}

func (w *world) fail(format string, args ...any) {
	if w.broken == nil {
		w.broken = fmt.Errorf(format, args...)
	}
}

// fault crashes or freezes somebody, or lets a partition change hands, now and then.
func (w *world) fault() {
	i := w.r.IntN(processors)
	p := &w.processors[i]

	switch w.r.IntN(60) {
	case 0:
		w.seen.Crashes++
		p.lanes, p.frozen = map[int]*lane{}, false
	case 1, 2:
		w.seen.Freezes++
		p.frozen = true
	case 3, 4, 5:
		p.frozen = false
	case 7:
		if e := w.document.Executing; e != nil && !slices.Contains(w.effects, int(e.Event)) {
			break // a backup of just then holds the claim without the change, see the package's comment
		}

		w.saved = &backup{checkpoints: w.checkpoints, document: w.copy(), effects: slices.Clone(w.effects), parked: w.copyParked()}
	case 8:
		if w.saved != nil && w.r.IntN(4) == 0 {
			w.restore()
		}
	case 6: // it lost NATS: it acquires the partition again, under the same lease
		delete(p.lanes, w.r.IntN(partitions))
	}
}

// restore sets the target back to the backup. Nobody is told, but what was asked of the target is not answered.
func (w *world) restore() {
	w.seen.Restored++

	for i := range w.processors {
		for _, l := range w.processors[i].lanes {
			l.read, l.verdict, l.fresh = nil, nil, nil
		}
	}

	w.checkpoints, w.document, w.effects, w.parked = w.saved.checkpoints, w.saved.document, w.saved.effects, w.saved.parked
	w.saved = nil
}

func (w *world) copyParked() (all [partitions][]int) {
	for p := range all {
		all[p] = slices.Clone(w.parked[p])
	}

	return all
}

// step is one of anybody.
func (w *world) step() {
	if w.r.IntN(200) == 0 {
		w.end++ // markers come without end
	}

	partition := w.r.IntN(partitions)

	// A lease ends while its holder sleeps; a crash is only noticed by that.
	if holder := w.holder[partition]; holder >= 0 && w.r.IntN(20) == 0 && (w.processors[holder].frozen || w.processors[holder].lanes[partition] == nil) {
		w.holder[partition] = -1
	}

	i := w.r.IntN(processors)

	p := &w.processors[i]
	if p.frozen {
		return
	}

	if w.holder[partition] < 0 {
		w.holder[partition] = i
		w.leases[partition]++
	}

	l := p.lanes[partition]
	if l == nil && w.holder[partition] == i {
		p.lanes[partition] = w.acquire(partition)

		return
	}

	if l == nil {
		return
	}

	// Whoever wakes up after its lease has ended hears of that soon, but not at once.
	leased := w.holder[partition] == i && w.leases[partition] == l.lease
	if !leased && w.r.IntN(4) == 0 || !l.step(leased) {
		w.seen.Stale++

		delete(p.lanes, partition)
	}
}

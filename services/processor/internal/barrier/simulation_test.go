package barrier_test

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"testing"

	"github.com/stretchr/testify/require"
	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/atlas-relay/atlas-relay/pkg/event"
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

// lane is an ownership. What a real one does without a pause is one step here; whatever another may come between is two.
type lane struct {
	w         *world
	partition int
	epoch     int64
	lease     int
	began     bool // the document was read
	passage   barrier.Passage
	cursor    int // in messages
	held      held

	trying int // position of a parked event; 0: none

	standing *barrier.Lane
	read     *barrier.Document // first half of a view
	verdict  *barrier.Verdict
	fresh    *barrier.Execution // prepared, to be written
	ran      bool
	written  bool // its arrival, once
	behind   int  // the last barrier that was passed, and was not void
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

// acquire raises the epoch. The document is read in the lane's first step.
func (w *world) acquire(partition int) *lane {
	w.epochs[partition]++ // higher than any that there was, also on a target that went back
	w.checkpoints[partition].epoch = w.epochs[partition]

	return &lane{w: w, partition: partition, lease: w.leases[partition], epoch: w.checkpoints[partition].epoch, held: w.checkpoints[partition]}
}

// commit is a transaction: it happens only for the owner that the checkpoint names.
func (l *lane) commit(next held, effect func()) bool {
	c := &l.w.checkpoints[l.partition]
	if c.epoch != l.epoch || c.commits != l.held.commits || l.held.at < l.behind && l.w.checkpoints[0].at < l.behind {
		return false
	}

	effect()

	next.epoch, next.commits = l.epoch, l.held.commits+1
	*c, l.held = next, next

	return true
}

// step returns false when the lane has learnt that it is stale. leased tells whether its lease has not ended.
func (l *lane) step(leased bool) bool {
	switch {
	case !l.began:
		document := l.w.copy()
		l.passage, l.began = barrier.Begin(&document, position(l.held.at)), true

		for l.cursor < len(l.messages()) && l.messages()[l.cursor].at <= l.held.at {
			l.cursor++
		}

		return true
	case l.trying > 0:
		return l.endTry()
	case l.w.r.IntN(4) == 0 && l.beginTry():
		return true
	case l.standing != nil:
		return l.stand(leased)
	case l.cursor < len(l.messages()):
		return l.take(l.messages()[l.cursor])
	default:
		return l.move()
	}
}

func (l *lane) messages() []message { return l.w.messages[l.partition] }

func position(at int) event.Position { return event.Position{T: uint32(at)} }

func (w *world) copy() barrier.Document {
	d := w.document
	d.Arrived = maps.Clone(d.Arrived)

	if d.Executing != nil {
		e := *d.Executing
		d.Executing = &e
	}

	return d
}

// beginTry picks a parked event.
func (l *lane) beginTry() bool {
	waiting := l.w.parked[l.partition]
	if len(waiting) == 0 {
		return false
	}

	if !l.passage.MayTry(position(l.held.at)) {
		l.w.seen.Held++

		return false
	}

	l.trying = waiting[l.w.r.IntN(len(waiting))]

	return true
}

func (l *lane) endTry() bool {
	at := l.trying
	l.trying = 0

	return l.commit(l.held, func() {
		l.w.seen.Tried++

		before := max(l.w.checkpoints[l.partition].at, l.passedAt())
		for _, effect := range l.w.effects {
			if effect > before {
				l.w.fail("partition %d tries event %d, which it set aside before the schema change %d took effect, and stands before that", l.partition, at, effect)
			}
		}

		l.w.parked[l.partition] = slices.DeleteFunc(l.w.parked[l.partition], func(other int) bool { return other == at })
	})
}

// passedAt is the last barrier that the lane has read behind.
func (l *lane) passedAt() int {
	passed := 0

	for _, m := range l.messages()[:l.cursor] {
		if m.barrier {
			passed = m.at
		}
	}

	return passed
}

// take applies, or sets aside, an event of the stream, or stands at a barrier.
func (l *lane) take(m message) bool {
	if m.barrier {
		l.passage.Stand()
		l.standing = &barrier.Lane{Partition: l.partition, Epoch: l.epoch, Commits: l.held.commits, At: barrier.Barrier{Event: int64(m.at), Position: position(m.at)}}

		return true
	}

	next := l.held
	next.at, next.settled = m.at, next.settled+1
	l.cursor++

	return l.commit(next, func() {
		for _, at := range l.w.real {
			if happened := slices.Contains(l.w.effects, at); happened != (at < m.at) {
				l.w.fail("event %d is applied, schema change %d has taken effect: %t", m.at, at, happened)
			}
		}

		if l.w.r.IntN(3) == 0 {
			l.w.parked[l.partition] = append(l.w.parked[l.partition], m.at)
		}
	})
}

// move brings an idle partition to a marker.
func (l *lane) move() bool {
	marker := 1 + l.w.r.IntN(l.w.end)

	var last, head int64

	for _, at := range l.w.real {
		if at <= marker {
			last = int64(at)
		}
	}

	for _, at := range l.w.data[l.partition] {
		if at <= marker {
			head++
		}
	}

	return l.moveTo(marker, last, head)
}

func (l *lane) moveTo(marker int, last, head int64) bool {
	if marker <= l.held.at || head != int64(l.held.settled) || !l.passage.MayMoveTo(last, int64(l.held.at)) {
		return true
	}

	next := l.held
	next.at = marker

	return l.commit(next, func() { l.w.seen.Marked++ })
}

// stand is one step of an owner that stands at a barrier.
func (l *lane) stand(leased bool) bool {
	switch {
	case l.ran:
		return l.pass()
	case !l.written && l.partition > 0: // without a view before it
		l.written = true
		l.verdict = &barrier.Verdict{Step: barrier.Announce}
	case l.fresh != nil:
		l.claim()
	case l.verdict != nil:
		return l.act(leased)
	case l.read == nil:
		document := l.w.copy()
		l.read = &document
	default:
		view := barrier.View{Partitions: partitions, Document: *l.read, Checkpoints: map[int]barrier.Checkpoint{}}

		for p, c := range l.w.checkpoints {
			if l.partition == 0 || p == 0 || p == l.partition {
				view.Checkpoints[p] = barrier.Checkpoint{Epoch: c.epoch, Commits: c.commits, Position: position(c.at)}
			}
		}

		verdict := view.Decide(l.standing)
		l.verdict, l.read = &verdict, nil
	}

	return true
}

func (l *lane) act(leased bool) bool {
	verdict := l.verdict
	l.verdict = nil

	switch verdict.Step {
	case barrier.Wait:
	case barrier.Announce:
		arrived := l.w.copy().Arrived
		if arrived == nil {
			arrived = map[string]barrier.Arrival{}
		}

		arrived[barrier.Slot(l.partition)] = barrier.Arrival{Barrier: l.standing.At, Epoch: l.epoch, Commits: l.standing.Commits}
		l.w.document.Arrived = arrived
	case barrier.Claim:
		execution, fresh := verdict.Claimed(l.standing)
		if fresh {
			execution.Prepared = bson.Raw(strconv.Itoa(len(l.w.effects)))
		}

		l.fresh, l.verdict = &execution, verdict
	case barrier.Run:
		if leased { // each command has a deadline before the end of the lease
			l.run(verdict.Executing)
		}
	case barrier.Pass:
		if !verdict.Void {
			l.behind = int(l.standing.At.Event)
		}

		return l.pass()
	case barrier.Leave:
		l.w.seen.Left++

		return false
	}

	return true
}

// claim writes the execution, unless somebody else has since.
func (l *lane) claim() {
	before, present := l.verdict.Executing, l.w.document.Executing
	if before == nil && present == nil || before != nil && present != nil && before.Epoch == present.Epoch && before.Barrier == present.Barrier {
		l.w.document.Executing = l.fresh
	}

	l.fresh, l.verdict = nil, nil
}

// run is the command, which knows by what was prepared whether it has run before.
func (l *lane) run(e *barrier.Execution) {
	at := int(e.Event)
	l.ran = true

	if i := slices.Index(l.w.effects, at); i >= 0 {
		l.w.seen.Again++

		if string(e.Prepared) != strconv.Itoa(i) {
			l.w.fail("schema change %d runs again with what was prepared when %s had run, instead of %d", at, e.Prepared, i)
		}

		return
	}

	l.w.seen.Effects++

	if len(l.w.effects) == len(l.w.real) || l.w.real[len(l.w.effects)] != at {
		l.w.fail("schema change %d takes effect after %v, the stream has %v", at, l.w.effects, l.w.real)
	}

	for p := range partitions {
		l.w.mayRun(p, at)
	}

	l.w.effects = append(l.w.effects, at)
}

// mayRun makes sure that a partition has applied what comes before the change, and only that.
func (w *world) mayRun(p, at int) {
	settled := 0

	for _, d := range w.data[p] {
		if d < at {
			settled++
		}
	}

	if w.checkpoints[p].settled != settled {
		w.fail("schema change %d runs, partition %d has %d events before it and %d are applied", at, p, settled, w.checkpoints[p].settled)
	}

	for i := range w.processors {
		if l := w.processors[i].lanes[p]; l != nil && l.epoch == w.checkpoints[p].epoch && l.trying > 0 {
			w.fail("schema change %d runs while partition %d tries event %d", at, p, l.trying)
		}
	}
}

// pass goes on behind the barrier: partition 0 by a commit, the others by one only where they have something parked
// that the change concerns.
func (l *lane) pass() bool {
	at := int(l.standing.At.Event)

	if l.partition > 0 && !slices.Contains(l.w.real, at) {
		l.w.seen.Void++
	}

	if l.partition == 0 || len(l.w.parked[l.partition]) > 0 && at%2 == 0 {
		next := l.held
		next.at = max(next.at, at) // a marker behind a void barrier may have come first

		if e := l.w.document.Executing; l.partition == 0 && (e == nil || e.Barrier != l.standing.At || e.Epoch != l.epoch) {
			return false // the target has lost what was claimed, and so made
		}

		if !l.commit(next, func() {}) {
			return false
		}
	}

	l.passage.Pass(l.standing.At)
	l.cursor++
	l.standing, l.read, l.verdict, l.fresh, l.ran, l.written = nil, nil, nil, nil, false, false

	return true
}

package simulation

import (
	"container/heap"
	"fmt"
	"hash/fnv"
	"math/rand/v2"
	"time"

	"github.com/atlas-relay/atlas-relay/e2e/simulation/mongomodel"
	"github.com/atlas-relay/atlas-relay/e2e/simulation/natsmodel"
)

// epoch is when every run begins.
var epoch = time.Unix(1_700_000_000, 0).UTC() //nolint:gochecknoglobals // a constant

// moment is something that happens at a time.
type moment struct {
	at     time.Time
	number uint64 // of two at the same time, the first made is the first
	do     func()
}

type agenda []moment

func (a agenda) Len() int { return len(a) }

func (a agenda) Less(i, j int) bool {
	if !a[i].at.Equal(a[j].at) {
		return a[i].at.Before(a[j].at)
	}

	return a[i].number < a[j].number
}

func (a agenda) Swap(i, j int) { a[i], a[j] = a[j], a[i] }

func (a *agenda) Push(x any) { *a = append(*a, x.(moment)) } //nolint:forcetypeassert,errcheck // of this package alone

func (a *agenda) Pop() any {
	old := *a
	last := old[len(old)-1]
	old[len(old)-1] = moment{}
	*a = old[:len(old)-1]

	return last
}

// world is one run: all processes, servers and time.
type world struct {
	plan    *Plan
	random  *rand.Rand
	now     time.Time
	agenda  agenda
	numbers uint64
	current *task // that runs at present

	nats   *natsmodel.Server
	stream *natsmodel.Stream
	owners *natsmodel.Bucket
	source *source
	target *mongomodel.Database

	weather    weather
	listeners  []*listener
	processors []*processor
	serial     int           // of processes and sessions
	wrong      time.Duration // the clocks of processes that begin now

	judge *judge
	trace trace
}

// weather is what is wrong with servers and networks.
type weather struct {
	natsDown, targetDown, sourceDown time.Time // until when
	full                             time.Time // the stream
	lossy                            time.Time // answers of NATS get lost
	shaky                            time.Time // so do those of the target
	natsSession                      int       // raised by every restart
}

func (w *world) at(t time.Time, do func()) {
	w.numbers++
	heap.Push(&w.agenda, moment{at: t, number: w.numbers, do: do})
}

func (w *world) after(d time.Duration, do func()) { w.at(w.now.Add(d), do) }

// until lets time pass.
func (w *world) until(end time.Time, stop func() bool) {
	for len(w.agenda) > 0 && !w.agenda[0].at.After(end) && w.judge.failure == nil {
		next, _ := heap.Pop(&w.agenda).(moment)
		w.now = next.at
		next.do()

		if stop != nil && stop() {
			return
		}
	}

	if w.judge.failure == nil && w.now.Before(end) && (stop == nil || !stop()) {
		w.now = end
	}
}

// chance is true so often.
func (w *world) chance(p float64) bool { return w.random.Float64() < p }

// between is a random duration.
func (w *world) between(from, to time.Duration) time.Duration {
	return from + time.Duration(w.random.Int64N(int64(to-from)+1))
}

// trace is what happened: a hash of all of it, and the last lines.
type trace struct {
	sum   uint64
	lines []string
	count int
	keep  bool // all lines
}

// tail is how many lines a failed run shows.
const tail = 60

func (w *world) tell(who, format string, arguments ...any) {
	t := &w.trace
	line := fmt.Sprintf("%9.3f %-12s ", w.now.Sub(epoch).Seconds(), who) + fmt.Sprintf(format, arguments...)

	h := fnv.New64a()
	_, _ = fmt.Fprintf(h, "%d %s", t.sum, line)
	t.sum = h.Sum64()
	t.count++

	t.lines = append(t.lines, line)
	if !t.keep && len(t.lines) > 4*tail {
		t.lines = append(t.lines[:0], t.lines[len(t.lines)-tail:]...)
	}
}

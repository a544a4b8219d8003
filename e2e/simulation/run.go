package simulation

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"time"

	"github.com/atlas-relay/atlas-relay/e2e/simulation/mongomodel"
	"github.com/atlas-relay/atlas-relay/e2e/simulation/natsmodel"
)

// firstStream is the id of the stream that a run begins with.
const firstStream = "first"

// patience is how long a flow may take to come to rest after the last trouble.
const patience = 5 * time.Minute

// Result is what became of a run.
type Result struct {
	Plan    *Plan
	Failure error    // nil: every invariant held
	Hash    uint64   // of all that happened
	Trace   []string // its last lines; all where they were asked for
	Events  int      // lines in all
	Took    time.Duration

	Struck  map[string]int // what happened, how often
	During  map[string]int // changes of the source within each kind of fault
	Changes int
	Commits int
	Samples int  // at which the counters were compared
	Loud    bool // it ended in a state that only an operator can end
}

// Run runs a plan. The same plan gives the same result, but for Took.
func Run(plan *Plan, wholeTrace bool) (r *Result) {
	began := time.Now()
	w := newWorld(plan)
	w.trace.keep = wholeTrace

	defer func() {
		if p := recover(); p != nil {
			w.judge.fail("panic: %v", p)
		}

		r = w.result()
		r.Took = time.Since(began)

		w.end()
	}()

	w.play()

	return nil
}

func newWorld(plan *Plan) *world {
	w := &world{plan: plan, random: rand.New(rand.NewPCG(plan.Seed, 3)), now: epoch}
	clock := func() time.Time { return w.now }

	w.judge = newJudge(w)
	w.nats = natsmodel.NewServer(clock)
	w.target = mongomodel.NewDatabase(clock, plan.Unique)
	w.target.OnCommit(w.judge.commit)
	w.source = newSource(w)
	w.makeBuckets()
	w.makeStream(firstStream)

	return w
}

// play is the run: changes and faults, then calm until nothing moves.
func (w *world) play() {
	for slot := range w.plan.Listeners {
		w.listeners = append(w.listeners, w.startListener(slot))
	}

	for slot := range w.plan.Processors {
		w.processors = append(w.processors, w.startProcessor(slot))
	}

	for range w.plan.Changes {
		w.at(epoch.Add(w.plan.when(w.source.random)), w.source.happen)
	}

	w.schedule()
	w.until(epoch.Add(w.plan.Lasts+10*time.Second), nil)

	if w.judge.failure != nil {
		return
	}

	w.clear()
	w.tell("judge", "calm from here on")

	end := w.now.Add(patience)
	for w.now.Before(end) && w.judge.failure == nil {
		w.until(w.now.Add(time.Second), nil)

		switch {
		case w.isLoud():
			w.judge.loud()

			return
		case w.isAtRest():
			w.judge.rest()

			return
		}
	}

	if w.judge.failure == nil {
		w.judge.fail("%w within %s: %s", errNoRest, patience, w.standing())
	}
}

// isAtRest tells whether everything that the source has is settled.
func (w *world) isAtRest() bool {
	all, ok := w.judge.checkpoints()
	s := w.judge.streamNow()

	if !ok || s == nil || !s.last.EndsEvent() || s.last.Event != uint64(w.counted()) {
		return false
	}

	for i := range all {
		d := &all[i]
		if d.StreamGeneration() != s.last.Generation || d.LastCount() != s.heads[d.Partition] || d.Parked > 0 || d.StreamID != s.last.StreamID || !s.has(d) {
			return false
		}
	}

	return true
}

// counted is how many changes the flow has to count.
func (w *world) counted() int {
	n := 0

	changes := w.source.changes[w.judge.begins:]
	for i := range changes {
		if changes[i].event.Namespace != internal {
			n++
		}
	}

	return n
}

// isLoud tells whether the flow stands still in a state that says so.
func (w *world) isLoud() bool {
	lanes := 0

	for _, p := range w.processors {
		for _, l := range p.lanes {
			if l.failed {
				lanes++
			}
		}
	}

	// A stream that was made anew is refused by who knew the one before; who did not goes on with it.
	if lanes == w.plan.Partitions || lanes > 0 && w.judge.replaced {
		return true
	}

	for _, l := range w.listeners {
		if !l.failed {
			return false
		}
	}

	return true
}

// standing says who does what, for a run that does not come to rest.
func (w *world) standing() string {
	texts := []string{fmt.Sprintf("the source has %d changes", w.counted())}

	if s := w.judge.streamNow(); s != nil {
		texts = append(texts, fmt.Sprintf("the stream event %d in generation %d, heads %v", s.last.Event, s.last.Generation, s.heads))
	}

	for _, l := range w.listeners {
		texts = append(texts, fmt.Sprintf("%s %s, %d messages not proven, %s", l.name, l.steps.Status().State, l.steps.Status().WindowMessages, l.steps.Status().Reason))
	}

	all, _ := w.judge.checkpoints()
	for i := range all {
		texts = append(texts, fmt.Sprintf("partition %d at event %d, count %d, generation %d, %d parked", all[i].Partition, all[i].Event, all[i].Count, all[i].Generation, all[i].Parked))
	}

	for _, p := range w.processors {
		for _, l := range p.lanes {
			if status := l.steps.Status(); l.held {
				texts = append(texts, fmt.Sprintf("%s has partition %d: %s %s", p.name, l.number, status.State, status.Reason))
			}
		}
	}

	for _, r := range w.judge.records() {
		texts = append(texts, fmt.Sprintf("%s %s %s", r.ID, r.State, r.Reason))
	}

	return strings.Join(texts, "; ")
}

// loud judges a flow that has ended: something must have happened that ends one.
func (j *judge) loud() {
	j.struck["ended loudly"]++

	if !j.forgotten && !j.replaced {
		j.fail("the flow has ended, and nothing has happened that ends one: %s", j.standing())
	}
}

func (w *world) result() *Result {
	j := w.judge
	j.struck[crowd] += j.crowded()

	return &Result{
		Plan: w.plan, Failure: j.failure, Hash: w.trace.sum, Trace: w.trace.lines, Events: w.trace.count,
		Struck: j.struck, During: j.changed.counts, Changes: len(w.source.changes), Commits: j.commits, Samples: j.samples,
		Loud: j.struck["ended loudly"] > 0,
	}
}

// end gives back what the run holds.
func (w *world) end() {
	for _, l := range w.listeners {
		if l != nil {
			l.kill()
		}
	}

	for _, p := range w.processors {
		if p != nil {
			p.kill()
		}
	}
}

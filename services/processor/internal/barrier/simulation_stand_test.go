package barrier_test

import (
	"slices"
	"strconv"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/atlas-relay/atlas-relay/services/processor/internal/barrier"
)

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

package ownership

import (
	"context"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/atlas-relay/atlas-relay/pkg/event"
	"github.com/atlas-relay/atlas-relay/pkg/failpoint"
	"github.com/atlas-relay/atlas-relay/pkg/retry"
	"github.com/atlas-relay/atlas-relay/pkg/telemetry"
	"github.com/atlas-relay/atlas-relay/services/processor/internal/barrier"
)

// Pauses between two views of the target while partitions stand at a schema change: a share of the wait so far, because
// the flow stands still meanwhile, and an index build must not cost the target hundreds of reads a second.
const (
	firstLook = 2 * time.Millisecond
	lastLook  = 100 * time.Millisecond
	lookShare = 20
)

// crossing is where the partitions of this processor that stand at a schema change hear what to do next. One view of
// the target serves all of them, and one write announces all.
type crossing struct {
	mu    sync.Mutex
	lanes map[int]*standing
	wake  chan struct{} // something has changed
}

// standing is a partition that stands at a schema change.
type standing struct {
	lane     barrier.Lane
	since    time.Time
	verdicts chan barrier.Verdict // holds the last one
	written  bool                 // its arrival is; of the goroutine that looks
}

func newCrossing() *crossing {
	return &crossing{lanes: map[int]*standing{}, wake: make(chan struct{}, 1)}
}

// stand puts a partition there until leave.
func (c *crossing) stand(l barrier.Lane) *standing {
	s := &standing{lane: l, since: time.Now(), verdicts: make(chan barrier.Verdict, 1)}

	c.mu.Lock()
	c.lanes[l.Partition] = s
	c.mu.Unlock()

	c.nudge()

	return s
}

// leave forgets a partition; one that has been put there again meanwhile stays.
func (c *crossing) leave(s *standing) {
	c.mu.Lock()
	defer c.mu.Unlock()

	if c.lanes[s.lane.Partition] == s {
		delete(c.lanes, s.lane.Partition)
	}
}

// nudge has the target looked at now.
func (c *crossing) nudge() {
	select {
	case c.wake <- struct{}{}:
	default: // it will be
	}
}

func (c *crossing) present() []*standing {
	c.mu.Lock()
	defer c.mu.Unlock()

	list := make([]*standing, 0, len(c.lanes))
	for _, s := range c.lanes {
		list = append(list, s)
	}

	return list
}

// tell replaces what the partition has not heard yet, unless it has left.
func (c *crossing) tell(s *standing, v barrier.Verdict) {
	c.mu.Lock()
	defer c.mu.Unlock()

	if c.lanes[s.lane.Partition] == s {
		s.tell(v)
	}
}

// release lets the partitions of this process go on that stand where partition 0 has committed its checkpoint, at e or
// at a change that was left out (nil): they need not ask the target what this process has written there.
func (c *crossing) release(committed event.Position, e *barrier.Execution) {
	c.mu.Lock()
	defer c.mu.Unlock()

	for number, s := range c.lanes {
		if !committed.Before(s.lane.At.Position) {
			delete(c.lanes, number)
			s.tell(barrier.Verdict{Step: barrier.Pass, Executing: e})
		}
	}
}

// tell is called by one at a time.
func (s *standing) tell(v barrier.Verdict) {
	select {
	case <-s.verdicts:
	default:
	}

	s.verdicts <- v
}

// followBarriers looks at the target while partitions stand at schema changes, until stop ends.
func (o *Owner) followBarriers(stop context.Context) {
	policy := retry.Policy{Initial: firstBackoff, Max: maxBackoff}
	timer := time.NewTimer(time.Hour)

	defer timer.Stop()

	for {
		present := o.crossing.present()
		timer.Stop()

		if len(present) > 0 {
			timer.Reset(nextLook(present, time.Now()))
		}

		select {
		case <-timer.C:
		case <-o.crossing.wake:
		case <-stop.Done():
			return
		}

		// The partitions say that they wait, and the next transaction of whichever of them why.
		_ = retry.Do(stop, policy, func(ctx context.Context) error {
			err := o.lookAtBarriers(ctx)
			if err != nil && ctx.Err() == nil {
				o.log.DebugContext(ctx, "schema change: the target cannot be asked", slog.Any(telemetry.KeyError, err))
			}

			return err
		})
	}
}

// nextLook is the pause after which to look again, for the sake of who has come last.
func nextLook(present []*standing, now time.Time) time.Duration {
	waited := now.Sub(present[0].since)
	for _, s := range present {
		waited = min(waited, now.Sub(s.since))
	}

	return min(max(waited/lookShare, firstLook), lastLook)
}

// lookAtBarriers announces those that have arrived, reads a view, and tells each partition what it means.
func (o *Owner) lookAtBarriers(ctx context.Context) error {
	present := o.crossing.present()
	if len(present) == 0 {
		return nil
	}

	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()

	executes := slices.ContainsFunc(present, func(s *standing) bool { return s.lane.Partition == 0 })

	fresh := slices.DeleteFunc(slices.Clone(present), func(s *standing) bool { return s.written || s.lane.Partition == 0 })
	if len(fresh) > 0 {
		if err := o.announce(ctx, fresh); err != nil {
			return err
		}

		if !executes {
			return nil // nobody can have seen it yet
		}
	}

	view, err := barrier.LoadView(ctx, o.target, o.options.Flow, o.stream.Partitions)
	if err != nil {
		return err
	}

	var overwritten []*standing

	for _, s := range present {
		verdict := view.Decide(&s.lane)
		if verdict.Step == barrier.Announce {
			overwritten = append(overwritten, s)
		}

		o.crossing.tell(s, verdict)
	}

	if len(overwritten) == 0 {
		return nil
	}

	return o.announce(ctx, overwritten)
}

// announce writes arrivals.
func (o *Owner) announce(ctx context.Context, list []*standing) error {
	lanes := make([]barrier.Lane, len(list))
	for i, s := range list {
		lanes[i] = s.lane
	}

	err := barrier.WriteArrivals(ctx, o.target, o.options.Flow, lanes)
	if err == nil {
		err = failpoint.Error(failpoint.BarrierArrived)
	}

	if err != nil {
		return err
	}

	for _, s := range list {
		s.written = true
	}

	return nil
}

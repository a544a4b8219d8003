package ownership

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/atlas-relay/atlas-relay/pkg/retry"
	"github.com/atlas-relay/atlas-relay/pkg/telemetry"
	"github.com/atlas-relay/atlas-relay/services/processor/internal/barrier"
)

// Pauses between two views of the target while partitions stand at a schema change: short at first, because the flow
// stands still meanwhile, longer when an index is built.
const (
	firstLook = 5 * time.Millisecond
	lastLook  = 100 * time.Millisecond
	longWait  = 10 * time.Second
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

// tell replaces what the partition has not heard yet.
func (s *standing) tell(v barrier.Verdict) {
	select {
	case <-s.verdicts:
	default:
	}

	s.verdicts <- v // only one goroutine tells
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

func nextLook(present []*standing, now time.Time) time.Duration {
	for _, s := range present {
		if now.Sub(s.since) < longWait {
			return firstLook
		}
	}

	return lastLook
}

// lookAtBarriers reads a view, tells each partition what it means, and announces those that have arrived.
func (o *Owner) lookAtBarriers(ctx context.Context) error {
	present := o.crossing.present()
	if len(present) == 0 {
		return nil
	}

	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()

	all := false
	for _, s := range present {
		all = all || s.lane.Partition == 0
	}

	view, err := barrier.LoadView(ctx, o.target, o.options.Flow, o.stream.Partitions, all)
	if err != nil {
		return err
	}

	var arrived []barrier.Lane

	for _, s := range present {
		verdict := view.Decide(&s.lane)
		if verdict.Step == barrier.Announce {
			arrived = append(arrived, s.lane)
		}

		s.tell(verdict)
	}

	if len(arrived) == 0 {
		return nil
	}

	// The owner of partition 0 may be in this process, and wait for just this.
	defer o.crossing.nudge()

	return barrier.WriteArrivals(ctx, o.target, o.options.Flow, arrived)
}

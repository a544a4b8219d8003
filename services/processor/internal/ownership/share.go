package ownership

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"github.com/atlas-relay/atlas-relay/pkg/lease"
	"github.com/atlas-relay/atlas-relay/pkg/telemetry"
)

// sharing does what the table decides and tells it how that went: one loop, and
// one goroutine per partition that is held.
//
//	bucket ──members, holders──▶ table ──take, drain──▶ hold ──took, refused, ended──▶ table
type sharing struct {
	*Owner

	table  *table
	inputs chan func(now time.Time) // to the loop, from membership and holds
	drains []context.CancelFunc     // by partition; of the loop alone
	tasks  sync.WaitGroup
}

// share takes part in the flow until stop ends; then the announcement goes
// first, and what is in flight is finished within work.
func (o *Owner) share(stop, work context.Context) {
	s := &sharing{
		Owner:  o,
		table:  newTable(o.options.Identity.ID, len(o.partitions), o.options.LeaseTTL),
		inputs: make(chan func(time.Time)),
		drains: make([]context.CancelFunc, len(o.partitions)),
	}
	defer s.tasks.Wait()

	s.tasks.Go(func() {
		members := &membership{Owner: o, table: s.table, input: func(change func(time.Time)) { s.inputs <- change }}
		members.run(stop)

		s.inputs <- func(time.Time) { s.table.stop() }
	})

	timer := time.NewTimer(0)
	defer timer.Stop()

	for !s.table.done() {
		select {
		case change := <-s.inputs:
			change(time.Now())
		case <-timer.C:
		}

		now := time.Now()
		for _, a := range s.table.decide(now) {
			s.do(work, a)
		}

		s.show(now)
		timer.Reset(s.table.next(now))
	}
}

func (s *sharing) do(work context.Context, a action) {
	p := s.partitions[a.partition]

	if a.drain {
		p.draining.Store(true)
		p.setState(Draining, "")
		s.drains[a.partition]()

		return
	}

	p.draining.Store(false)

	drain, cancel := context.WithCancel(work)
	s.drains[a.partition] = cancel

	s.tasks.Go(func() {
		defer cancel()

		s.hold(drain, work, p)
	})
}

// hold acquires the lease of a partition, works on it until it is drained or
// the lease ends, and gives the lease back.
func (s *sharing) hold(drain, work context.Context, p *partition) {
	l, err := p.acquireLease(drain)
	if err != nil {
		s.inputs <- func(now time.Time) {
			p.refused(err)
			s.table.refused(now, p.number, errors.Is(err, lease.ErrHeld))
		}

		return
	}

	s.inputs <- func(now time.Time) { s.table.took(now, p.number) }

	err = p.under(drain, work, l)
	if err != nil {
		s.log.WarnContext(drain, "partition lost", slog.Int(telemetry.KeyPartition, p.number), slog.String(telemetry.KeyReason, explain(err)))
	}

	s.inputs <- func(now time.Time) {
		p.reset()
		s.table.ended(now, p.number, err != nil)
	}
}

// show says which partitions are this processor's affair: those that it has, and
// those that it should have.
func (s *sharing) show(now time.Time) {
	wants := s.table.wants(now)

	s.mu.Lock()
	defer s.mu.Unlock()

	for p := range s.shown {
		s.shown[p] = wants[p] && !s.table.sighted.IsZero() || s.table.slots[p].stage != idle
	}
}

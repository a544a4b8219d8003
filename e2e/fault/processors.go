package fault

import (
	"context"
	"fmt"
	"math/rand/v2"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/atlas-relay/atlas-relay/e2e/harness"
)

// Processors kills, freezes, adds and removes processors of a relay at random. Killed ones are started again by
// harness.Supervise, which has to run beside it.
type Processors struct {
	Relay *harness.Relay
	Seed  uint64
	Every time.Duration // from one fault to the next
	// Freeze is how long a frozen processor does nothing: longer than its leases last, so that others take over and it
	// wakes up late.
	Freeze time.Duration
	Most   int // processors at a time; at least 2
	Told   func(Strike)
}

// Hits counts the faults, so that a run without any is noticed.
type Hits struct{ Kills, Freezes, Joins, Leaves int }

// String is for people.
func (h Hits) String() string {
	return fmt.Sprintf("%d kills, %d freezes, %d joins, %d leaves", h.Kills, h.Freezes, h.Joins, h.Leaves)
}

func (h *Hits) sum() int { return h.Kills + h.Freezes + h.Joins + h.Leaves }

// Run breaks things until ctx ends, and then lets everything frozen go on. The order of the faults depends on the seed
// alone.
func (p *Processors) Run(ctx context.Context) (hits Hits, err error) {
	random := rand.New(rand.NewPCG(p.Seed, 0))

	err = every(ctx, p.Every, func(frozen *errgroup.Group) error {
		return p.strike(context.WithoutCancel(ctx), random, frozen, &hits)
	})

	return hits, err
}

// strike does one thing. ctx does not end with the run: what is begun is finished.
func (p *Processors) strike(ctx context.Context, random *rand.Rand, frozen *errgroup.Group, hits *Hits) error {
	all := p.Relay.Processors()
	victim := all[random.IntN(len(all))]
	s := Strike{Number: hits.sum() + 1, Service: victim.Name, PID: victim.Process().PID(), Processors: len(all)}

	switch dice := random.IntN(4); {
	case dice == 0:
		hits.Freezes++
		s.Kind, s.Lasts = Freeze, p.Freeze
		p.Told(s)

		if err := victim.Freeze(); err != nil {
			return err
		}

		later(frozen, p.Freeze, func() error {
			err := victim.Thaw()
			s.Ended = true
			p.Told(s)

			return err
		})

		return nil
	case dice == 1 && len(all) < p.Most:
		hits.Joins++
		p.Told(Strike{Number: s.Number, Kind: Join, Processors: len(all) + 1})

		return p.Relay.Scale(ctx, len(all)+1)
	case dice == 2 && len(all) > 1:
		hits.Leaves++

		last := all[len(all)-1]
		p.Told(Strike{Number: s.Number, Kind: Leave, Service: last.Name, PID: last.Process().PID(), Processors: len(all) - 1})

		return p.Relay.Scale(ctx, len(all)-1)
	default:
		hits.Kills++
		s.Kind = Kill
		p.Told(s)

		return victim.Kill()
	}
}

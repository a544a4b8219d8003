package fault

import (
	"context"
	"fmt"
	"math/rand/v2"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/atlas-relay/atlas-relay/e2e/harness"
)

// Listeners breaks listeners, their ways to NATS and NATS itself, at random. What was killed is started again by
// harness.Supervise, which has to run beside it.
type Listeners struct {
	Services []*harness.Service
	Proxies  []*Proxy // on the ways to NATS of some of them
	NATS     *harness.NATS
	Seed     uint64
	Every    time.Duration // from one fault to the next
	Lasts    time.Duration // of a freeze or a fault of a network: longer than a lease
	Told     func(what string)
}

// Run breaks things until ctx ends, and then waits until everything is whole again. It returns how many it has broken.
// The order of the faults depends on the seed alone.
func (f *Listeners) Run(ctx context.Context) (hits int, err error) {
	random := rand.New(rand.NewPCG(f.Seed, 1))

	err = every(ctx, f.Every, func(healing *errgroup.Group) error {
		hits++

		return f.strike(random, healing)
	})

	return hits, err
}

func (f *Listeners) strike(random *rand.Rand, healing *errgroup.Group) error {
	victim := f.Services[random.IntN(len(f.Services))]
	number := random.IntN(len(f.Proxies))
	proxy := f.Proxies[number]
	told := func(what string) { f.Told(fmt.Sprintf("way %d: %s", number+1, what)) }

	switch dice := random.IntN(12); {
	case dice < 3:
		f.Told("kill -9 " + victim.Name)

		return victim.Kill()
	case dice < 5:
		f.Told(fmt.Sprintf("freeze %s for %s", victim.Name, f.Lasts))
		later(healing, f.Lasts, victim.Thaw)

		return victim.Freeze()
	case dice == 5:
		f.Told("kill -9 NATS")

		if err := f.NATS.Kill(); err != nil {
			return err
		}

		return f.NATS.Start()
	case dice == 6:
		told("cut")
		proxy.Cut()
	case dice == 7:
		n := random.IntN(64 << 10)
		told(fmt.Sprintf("cut after %d bytes", n))
		proxy.CutAfter(Direction(random.IntN(directions)), n)
	case dice < 10:
		told("half-open")
		proxy.Swallow()
		later(healing, f.Lasts, func() error { proxy.Heal(); return nil })
	default:
		delay := time.Duration(random.IntN(300)) * time.Millisecond
		told(fmt.Sprintf("%s late", delay))
		proxy.Delay(Direction(random.IntN(directions)), delay)
		later(healing, f.Lasts, func() error { proxy.Heal(); return nil })
	}

	return nil
}

package chaos

import (
	"context"
	"fmt"
	"math/rand/v2"
	"time"
)

// crowd has processors join and leave, one every three seconds, up to more than there are partitions.
type crowd struct {
	sizes []int
}

// crowdEvery is shorter than what a hand-over of all partitions takes with leases of two seconds.
const crowdEvery = 3 * time.Second

func crowdClass() Class {
	return Class{
		Name: "crowd", Says: "processors join and leave every three seconds",
		Draw: func(r *rand.Rand, p *Plan) Fault {
			f := &crowd{}
			for range 4 {
				f.sizes = append(f.sizes, 1+r.IntN(5))
			}

			f.sizes = append(f.sizes, p.Processors)

			return f
		},
	}
}

// String implements Fault.
func (f *crowd) String() string { return fmt.Sprintf("%v processors, every %s", f.sizes, crowdEvery) }

// Strike implements Fault.
func (f *crowd) Strike(ctx context.Context, s *Stage) (Hit, error) {
	hit := Hit{Victim: string(processors), Detail: f.String()}

	for _, size := range f.sizes {
		if len(s.Relay.Processors()) != size {
			hit.Times++
		}

		if err := s.Relay.Scale(ctx, size); err != nil {
			return hit, err
		}

		linger(ctx, crowdEvery)
	}

	return hit, nil
}

package chaos

import (
	"context"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/atlas-relay/atlas-relay/e2e/fault"
)

// slowTarget lets every request to the target take a hundred times as long as on this machine.
type slowTarget struct {
	delay time.Duration
	lasts uint64 // changes
}

func slowTargetClass() Class {
	return Class{
		Name: "slow-target", Says: "the target answers a hundred times slower",
		Draw: func(r *rand.Rand, _ *Plan) Fault {
			return &slowTarget{delay: time.Duration(100+r.IntN(300)) * time.Millisecond, lasts: 300 + uint64(r.IntN(500))}
		},
	}
}

// String implements Fault.
func (f *slowTarget) String() string {
	return fmt.Sprintf("the target answers %s later, for %d changes", f.delay, f.lasts)
}

// Strike implements Fault.
func (f *slowTarget) Strike(ctx context.Context, s *Stage) (Hit, error) {
	hit := Hit{Times: s.Links[TargetLink].Connections(), Victim: string(target)}

	for _, link := range []Link{TargetLink, StatsTargetLink} {
		s.Links[link].Delay(fault.ToTarget, f.delay)
	}

	s.Pass(ctx, f.lasts, 2*networkMost)

	for _, link := range []Link{TargetLink, StatsTargetLink} {
		s.Links[link].Heal()
	}

	return hit, nil
}

package chaos

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"
)

// freeze stops a process without ending it, as a host that swaps or a hypervisor that moves it does.
type freeze struct {
	victim victim
	number int
	lasts  time.Duration // a tenth of a lease to three of them
}

func freezeClass() Class {
	return Class{
		Name: "freeze", Says: "SIGSTOP of a service or server for 0.1 to 3 leases, then SIGCONT", Short: true,
		Draw: func(r *rand.Rand, p *Plan) Fault {
			all := victims()
			tenths := 1 + r.IntN(30)

			return &freeze{victim: all[r.IntN(len(all))], number: r.IntN(8), lasts: p.Lease * time.Duration(tenths) / 10}
		},
	}
}

// String implements Fault.
func (f *freeze) String() string { return fmt.Sprintf("freeze %s for %s", f.victim, f.lasts) }

// Strike implements Fault.
func (f *freeze) Strike(ctx context.Context, s *Stage) (Hit, error) {
	hit := Hit{Times: 1, Victim: string(f.victim)}

	if service := s.service(f.victim, f.number); service != nil {
		hit.Victim = service.Name

		if !service.Runs() {
			hit.Times = 0
		}

		if err := service.Freeze(); err != nil {
			return hit, err
		}

		linger(ctx, f.lasts)

		return hit, service.Thaw()
	}

	server := s.database(f.victim)
	if err := server.Freeze(ctx); err != nil {
		return hit, errors.Join(err, server.Thaw())
	}

	linger(ctx, f.lasts)

	return hit, server.Thaw()
}

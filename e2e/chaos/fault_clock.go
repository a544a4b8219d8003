package chaos

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/atlas-relay/atlas-relay/e2e/wallclock"
)

// clock sets the wall clock of one process wrong by an hour, from its next start on or while it runs, perhaps first to one
// side and then to the other, and right again. The monotonic clock goes on. The databases are left out: the real ones guard
// the time that they give to changes against such jumps, and the stand-in does not.
type clock struct {
	victim victim
	number int
	offs   []time.Duration // one after the other
	anew   bool            // the process is killed and starts with the first of them
	kill   bool            // the process is killed before its clock is set right: what it has written is of the wrong time
	orphan bool            // a listener and a processor are killed just before: what NATS keeps of them is of the wrong time
	lasts  uint64          // changes
}

// clockOff is how much the clock is wrong: more than anything that the relay waits for.
const clockOff = time.Hour

func clockClass() Class {
	return Class{
		Name: "clock", Says: "the clock of a process is off by an hour, from its start or by a jump, until it is set right", Short: true,
		Lacks: wallclock.Supported,
		Draw: func(r *rand.Rand, _ *Plan) Fault {
			all := []victim{listeners, processors, statistics, natsServer}
			offs := [][]time.Duration{{clockOff}, {-clockOff}, {clockOff, -clockOff}, {-clockOff, clockOff}}

			return &clock{
				victim: all[r.IntN(len(all))], number: r.IntN(8), offs: offs[r.IntN(len(offs))], anew: r.IntN(3) == 0, kill: r.IntN(3) == 0,
				orphan: r.IntN(2) == 0, lasts: 150 + uint64(r.IntN(300)),
			}
		},
	}
}

// String implements Fault.
func (f *clock) String() string {
	text := fmt.Sprintf("the clock of %s is off by %v for %d changes", f.victim, f.offs, f.lasts)
	if f.anew {
		text += ", from its start"
	}

	if f.orphan {
		text += ", then a listener and a processor are killed"
	}

	if f.kill {
		text += ", and is right after kill -9"
	}

	return text
}

// Strike implements Fault.
func (f *clock) Strike(ctx context.Context, s *Stage) (hit Hit, err error) {
	service := s.service(f.victim, f.number)
	hit = Hit{Victim: service.Name, Detail: f.String()}

	defer func() { err = errors.Join(err, service.SetClock(0)) }()

	for i, off := range f.offs {
		if i == 0 && f.anew {
			if err := service.Kill(); err != nil {
				return hit, err
			}
		}

		if err := service.SetClock(off); err != nil {
			return hit, err
		}

		if i == 0 && f.anew && f.victim == natsServer { // the others are supervised
			if err := service.Start(); err != nil {
				return hit, err
			}
		}

		s.Pass(ctx, max(1, f.lasts/uint64(len(f.offs))), networkMost)

		if service.Runs() {
			hit.Times++
		}
	}

	if f.orphan {
		if err := errors.Join(s.service(listeners, f.number).Kill(), s.service(processors, f.number).Kill()); err != nil {
			return hit, err
		}
	}

	if !f.kill {
		return hit, nil
	}

	if err := errors.Join(service.Kill(), service.SetClock(0)); err != nil || f.victim != natsServer {
		return hit, err
	}

	return hit, service.Start()
}

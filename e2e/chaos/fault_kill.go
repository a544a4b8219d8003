package chaos

import (
	"context"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/atlas-relay/atlas-relay/e2e/harness"
	"github.com/atlas-relay/atlas-relay/pkg/mongotest"
)

// victim is a process of a run, by its part.
type victim string

// The victims.
const (
	listeners  victim = "listener"
	processors victim = "processor"
	statistics victim = "stats"
	natsServer victim = "nats"
	source     victim = "source"
	target     victim = "target"
)

func victims() []victim {
	return []victim{listeners, processors, statistics, natsServer, source, target}
}

// service is the n-th of that part, as many as there are now; nil for a database.
func (s *Stage) service(v victim, n int) *harness.Service {
	var all []*harness.Service

	switch v {
	case listeners:
		all = s.Relay.Listeners()
	case processors:
		all = s.Relay.Processors()
	case statistics:
		all = []*harness.Service{s.Relay.Stats}
	case natsServer:
		all = s.servers()
	default:
		return nil
	}

	return all[n%len(all)]
}

// servers are those of NATS.
func (s *Stage) servers() (all []*harness.Service) {
	for _, n := range s.World.Cluster {
		all = append(all, n.Service)
	}

	if all == nil {
		all = []*harness.Service{s.World.NATS.Service}
	}

	return all
}

func (s *Stage) database(v victim) *mongotest.Server {
	if v == source {
		return s.World.Source.Server
	}

	return s.World.Target.Server
}

// kill is kill -9 of one process. Services are started again at once, as by an orchestrator; servers after a while.
type kill struct {
	victim victim
	number int
	away   uint64 // changes until a server comes back
}

// awayMost bounds what the load is waited for: a dead source takes none.
const awayMost = 3 * time.Second

func killClass() Class {
	return Class{
		Name: "kill", Says: "kill -9 of a service, NATS, the source or the target", Short: true,
		Draw: func(r *rand.Rand, _ *Plan) Fault {
			all := victims()

			return &kill{victim: all[r.IntN(len(all))], number: r.IntN(8), away: uint64(r.IntN(200))}
		},
	}
}

// String implements Fault.
func (f *kill) String() string {
	return fmt.Sprintf("kill -9 %s, away for %d changes", f.victim, f.away)
}

// Strike implements Fault.
func (f *kill) Strike(ctx context.Context, s *Stage) (Hit, error) {
	hit := Hit{Times: 1, Victim: string(f.victim)}

	if service := s.service(f.victim, f.number); service != nil {
		hit.Victim = service.Name
		if !service.Runs() {
			hit.Times = 0
		}

		if err := service.Kill(); err != nil || f.victim != natsServer { // the others are supervised
			return hit, err
		}

		s.Pass(ctx, f.away, awayMost)

		return hit, service.Start()
	}

	server := s.database(f.victim)
	if err := server.Kill(); err != nil {
		return hit, err
	}

	if f.victim == target {
		s.Pass(ctx, f.away, awayMost)
	}

	return hit, server.Restart(ctx)
}

package chaos

import (
	"context"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/atlas-relay/atlas-relay/pkg/natstest"
	"github.com/atlas-relay/atlas-relay/pkg/topology"
)

// replicas is how many NATS servers there are in a run with several: each holds all of the stream.
const replicas = 3

// replica takes one of three NATS servers away, its disk with it or not, or has another one lead the stream. The relay goes on
// with the two that are left, or waits until they agree.
type replica struct {
	trouble replicaTrouble
	number  int
	lasts   uint64 // changes
}

type replicaTrouble string

const (
	replicaKilled replicaTrouble = "killed"
	replicaWiped  replicaTrouble = "wiped"
	replicaFrozen replicaTrouble = "frozen"
	leaderMoved   replicaTrouble = "asked to let another one lead"
)

func replicaClass() Class {
	return Class{
		Name: "replica", Says: "one of three NATS servers is killed, wiped or frozen, or the leader of the stream moves",
		Fits: func(p *Plan) bool { return p.Replicated },
		Draw: func(r *rand.Rand, _ *Plan) Fault {
			troubles := []replicaTrouble{replicaKilled, replicaWiped, replicaFrozen, leaderMoved}

			return &replica{trouble: troubles[r.IntN(len(troubles))], number: r.IntN(replicas), lasts: 150 + uint64(r.IntN(300))}
		},
	}
}

// String implements Fault.
func (f *replica) String() string {
	return fmt.Sprintf("server %d of %d is %s, for %d changes", f.number+1, replicas, f.trouble, f.lasts)
}

// Strike implements Fault.
func (f *replica) Strike(ctx context.Context, s *Stage) (Hit, error) {
	server := s.World.Cluster[f.number]
	hit := Hit{Times: 1, Victim: server.Name, Detail: f.String()}

	// What a server before has not caught up with yet would be the last copy.
	if err := s.awaitReplicas(ctx); err != nil {
		return hit, err
	}

	var err error

	switch f.trouble {
	case leaderMoved:
		hit.Victim = string(natsServer)
		err = s.moveLeader(ctx)
	case replicaFrozen:
		err = server.Freeze()
	case replicaWiped:
		err = server.Wipe()
	case replicaKilled:
		err = server.Kill()
	}

	if err != nil {
		return hit, err
	}

	s.Pass(ctx, f.lasts, networkMost)

	switch f.trouble {
	case replicaFrozen:
		return hit, server.Thaw()
	case replicaKilled, replicaWiped:
		return hit, server.Start()
	default:
		return hit, nil
	}
}

// awaitReplicas waits until each server has everything, of the stream and of the buckets.
func (s *Stage) awaitReplicas(ctx context.Context) error {
	nc, js, err := s.World.JetStream()
	if err != nil {
		return err
	}
	defer nc.Close()

	ctx, cancel := context.WithTimeout(ctx, natsPatience)
	defer cancel()

	for _, stream := range []string{topology.StreamName(flow), "KV_" + topology.OwnersBucket, "KV_" + topology.StatsBucket} {
		if err := natstest.AwaitCurrent(ctx, js, stream); err != nil {
			return err
		}
	}

	return nil
}

func (s *Stage) moveLeader(ctx context.Context) error {
	return s.OnStream(ctx, func(ctx context.Context, js jetstream.JetStream, stream jetstream.Stream) error {
		wait, cancel := context.WithTimeout(ctx, time.Second)
		defer cancel()

		return natstest.MoveLeader(wait, js.Conn(), stream.CachedInfo().Config.Name, "")
	})
}

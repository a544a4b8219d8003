package chaos

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"

	"github.com/atlas-relay/atlas-relay/e2e/chaos/load"
	"github.com/atlas-relay/atlas-relay/pkg/checkpoint"
)

// storm makes write conflicts: somebody else holds documents of the target, and checkpoints, in transactions that he
// aborts in the end. Nothing of it stays.
type storm struct {
	clients int
	holds   time.Duration // each transaction
	lasts   uint64        // changes
	seed    uint64
}

func stormClass() Class {
	return Class{
		Name: "storm", Says: "write conflicts: transactions of somebody else hold the target's documents and checkpoints", Short: true,
		Fits: func(p *Plan) bool { return !p.Standalone },
		Draw: func(r *rand.Rand, _ *Plan) Fault {
			return &storm{
				clients: 2 + r.IntN(6), holds: time.Duration(20+r.IntN(300)) * time.Millisecond, lasts: 200 + uint64(r.IntN(400)), seed: r.Uint64(),
			}
		},
	}
}

// String implements Fault.
func (f *storm) String() string {
	return fmt.Sprintf("%d clients hold documents of the target for %s at a time, for %d changes", f.clients, f.holds, f.lasts)
}

// Strike implements Fault.
func (f *storm) Strike(ctx context.Context, s *Stage) (Hit, error) {
	within, end := context.WithCancel(ctx)

	var (
		held    atomic.Int64
		clients sync.WaitGroup
	)

	for n := range f.clients {
		clients.Go(func() {
			random := rand.New(rand.NewPCG(f.seed, uint64(n)))

			for within.Err() == nil {
				if f.hold(within, s, random) {
					held.Add(1)
				}
			}
		})
	}

	s.Pass(ctx, f.lasts, networkMost)
	end()
	clients.Wait()

	return Hit{Times: int(held.Load()), Victim: string(target), Detail: fmt.Sprintf("%d transactions", held.Load())}, nil
}

// errOver ends a transaction of the storm.
var errOver = errors.New("the storm is over")

// hold tells whether it has held anything. Trouble of the target is no reason to stop.
func (f *storm) hold(ctx context.Context, s *Stage, random *rand.Rand) bool {
	client := s.World.Target.Client

	session, err := client.StartSession()
	if err != nil {
		return false
	}
	defer session.EndSession(context.WithoutCancel(ctx))

	if err := session.StartTransaction(); err != nil {
		return false
	}

	// The abort is what makes it harmless, so it is sent whatever happens.
	defer func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), natsRequest)
		defer cancel()

		_ = session.AbortTransaction(ctx)
	}()

	names := append(load.Collections(), checkpoint.Collection)
	name := names[random.IntN(len(names))]
	coll := s.Target().Collection(name)

	if name == checkpoint.Collection {
		coll = checkpoint.Checkpoints(client)
	}

	request, cancel := context.WithTimeoutCause(ctx, 2*natsRequest, errOver)
	defer cancel()

	held := f.touch(mongo.NewSessionContext(request, session), coll, random)
	linger(ctx, f.holds)

	return held
}

// touch changes some documents in the transaction.
func (*storm) touch(ctx context.Context, coll *mongo.Collection, random *rand.Rand) bool {
	cursor, err := coll.Find(ctx, bson.D{})
	if err != nil {
		return false
	}
	defer func() { _ = cursor.Close(context.WithoutCancel(ctx)) }()

	held := false

	for n := 0; n < 200 && cursor.Next(ctx); n++ {
		if random.IntN(3) > 0 {
			continue
		}

		_, err := coll.UpdateOne(ctx, bson.D{{Key: "_id", Value: bson.D{{Key: "$eq", Value: cursor.Current.Lookup("_id")}}}},
			bson.D{{Key: "$set", Value: bson.D{{Key: "storm", Value: random.Int64()}}}})
		if err != nil {
			return held // a conflict of ours: the transaction is over
		}

		held = true
	}

	return held
}

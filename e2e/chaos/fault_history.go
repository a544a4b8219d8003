package chaos

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"

	"go.mongodb.org/mongo-driver/v2/bson"
)

// lostHistory stops the listeners until the source has forgotten what comes next.
type lostHistory struct{}

func historyClass() Class {
	return Class{
		Name: "history", Says: "the source has forgotten what comes next", Ending: Ends,
		Fits: func(p *Plan) bool { return p.Changes < historyOplog/4 },
		Draw: func(_ *rand.Rand, p *Plan) Fault {
			p.Oplog = historyOplog

			return &lostHistory{}
		},
	}
}

// String implements Fault.
func (*lostHistory) String() string {
	return fmt.Sprintf("the listeners are away while the source makes more than %d other events", historyOplog)
}

// Strike implements Fault.
func (*lostHistory) Strike(ctx context.Context, s *Stage) (Hit, error) {
	for _, l := range s.Relay.Listeners() {
		if err := l.Stop(ctx); err != nil {
			return Hit{}, err
		}
	}

	s.Pass(ctx, 50, awayMost) // what is lost

	noise := s.World.Source.Client.Database(s.DB + "_noise").Collection("noise")

	for range 2 * historyOplog / 1000 {
		documents := make([]any, 1000)
		for i := range documents {
			documents[i] = bson.D{{Key: "_id", Value: bson.NewObjectID()}}
		}

		if _, err := noise.InsertMany(ctx, documents); err != nil {
			return Hit{}, fmt.Errorf("make the source forget: %w", err)
		}
	}

	var errs []error
	for _, l := range s.Relay.Listeners() {
		errs = append(errs, l.Start())
	}

	return Hit{Times: 1, Victim: string(source)}, errors.Join(errs...)
}

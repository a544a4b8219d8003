package chaos

import (
	"context"
	"fmt"
	"math/rand/v2"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/atlas-relay/atlas-relay/e2e/harness"
)

// refusedDocuments has the target refuse about every second document for a while: they are parked, and what follows them.
// Afterwards they are taken.
type refusedDocuments struct {
	collection string
	lasts      uint64 // changes
}

func refusedClass() Class {
	return Class{
		Name: "refused", Says: "the target refuses half of a collection's documents for a while", Short: true,
		Fits: func(p *Plan) bool { return !p.Schema }, // the rule would be a difference of the definitions
		Draw: func(r *rand.Rand, _ *Plan) Fault {
			return &refusedDocuments{collection: []string{"orders", "events"}[r.IntN(2)], lasts: 150 + uint64(r.IntN(350))}
		},
	}
}

// String implements Fault.
func (f *refusedDocuments) String() string {
	return fmt.Sprintf("the target refuses half of the documents of %s, for %d changes", f.collection, f.lasts)
}

// Strike implements Fault.
func (f *refusedDocuments) Strike(ctx context.Context, s *Stage) (Hit, error) {
	if err := f.validate(ctx, s, f.rule()); err != nil {
		return Hit{}, err
	}

	s.Pass(ctx, f.lasts, networkMost)

	hit := Hit{Victim: string(target), Detail: f.collection}
	if sample, err := s.Relay.Sample(ctx); err == nil {
		hit.Times = int(sample.GetParkedChanges())
	}

	return hit, f.validate(ctx, s, bson.D{})
}

// rule refuses about half: n has 63 random bits.
func (*refusedDocuments) rule() bson.D {
	return bson.D{{Key: "n", Value: bson.D{{Key: "$gte", Value: int64(1) << 62}}}}
}

// validate is sent again until the target takes it: it may have come back just now.
func (f *refusedDocuments) validate(ctx context.Context, s *Stage, rule bson.D) error {
	ctx, cancel := context.WithTimeout(ctx, natsPatience)
	defer cancel()

	var last error

	err := harness.Await(ctx, natsRetry, func(ctx context.Context) (bool, error) {
		ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
		defer cancel()

		last = s.Target().RunCommand(ctx, bson.D{{Key: "collMod", Value: f.collection}, {Key: "validator", Value: rule}}).Err()

		return last == nil, nil
	})
	if err != nil {
		return fmt.Errorf("change the rule of the target: %w (%w)", err, last)
	}

	return nil
}

package chaos

import (
	"context"
	"fmt"
	"math/rand/v2"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/atlas-relay/atlas-relay/e2e/harness"
	relayv1 "github.com/atlas-relay/atlas-relay/proto/relay/v1"
)

// letters has processors give documents up that the target refuses, and an operator replay them once it takes them.
type letters struct {
	refused refusedDocuments
}

// lettersClass is the only one by which changes fail.
func lettersClass() Class {
	return Class{
		Name: "letters", Says: "refused documents become dead letters, which an operator replays", Letters: true,
		Fits: func(p *Plan) bool { return !p.Schema && !p.Standalone },
		Draw: func(r *rand.Rand, _ *Plan) Fault {
			return &letters{refusedDocuments{collection: []string{"orders", "events"}[r.IntN(2)], lasts: 100 + uint64(r.IntN(200))}}
		},
	}
}

// String implements Fault.
func (f *letters) String() string { return "processors do not try again, and " + f.refused.String() }

// refused are the namespaces whose documents may become dead letters.
func (p *Plan) refused(db string) (namespaces []string) {
	for _, s := range p.Steps {
		if f, ok := s.Fault.(*letters); ok {
			namespaces = append(namespaces, db+"."+f.refused.collection)
		}
	}

	return namespaces
}

// lettersMost bounds the wait for the first of them.
const lettersMost = 15 * time.Second

// Strike implements Fault.
func (f *letters) Strike(ctx context.Context, s *Stage) (Hit, error) {
	hit := Hit{Victim: string(target), Detail: f.refused.collection}

	if err := s.retries(ctx, "1", "100ms"); err != nil {
		return hit, err
	}

	if err := f.refused.validate(ctx, s, f.refused.rule()); err != nil {
		return hit, err
	}

	s.Pass(ctx, f.refused.lasts, networkMost)

	wait, cancel := context.WithTimeout(ctx, lettersMost)
	defer cancel()

	_, _ = s.Relay.Await(wait, "a dead letter", func(sample *relayv1.Stats) bool { // without one the fault has missed
		hit.Times = int(sample.GetDeadLetters())

		return hit.Times > 0
	})

	if err := f.refused.validate(ctx, s, bson.D{}); err != nil {
		return hit, err
	}

	settings := s.Plan.Settings(s.DB)
	if err := s.retries(ctx, settings["MAX_RETRIES"], settings["RETRY_DELAYS"]); err != nil {
		return hit, err
	}

	return hit, s.replay(ctx)
}

// retries restarts the processors with other delays.
func (s *Stage) retries(ctx context.Context, most, delays string) error {
	for _, p := range s.Relay.Processors() {
		p.Configure(map[string]string{"MAX_RETRIES": most, "RETRY_DELAYS": delays})

		if err := p.Restart(ctx); err != nil {
			return fmt.Errorf("restart %s: %w", p.Name, err)
		}
	}

	return nil
}

// replay has all dead letters replayed until there is none: some may only become one meanwhile, and one that waits to be tried
// again would become one behind the next fault that has it refused.
func (s *Stage) replay(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, natsPatience)
	defer cancel()

	return harness.Await(ctx, time.Second, func(ctx context.Context) (bool, error) {
		if err := s.operate(ctx, "dead-letters", "replay", "--all", "--yes", "--as", "chaos"); err != nil {
			return false, err
		}

		sample, err := s.Relay.Sample(ctx)

		return err == nil && sample.DeadLetters != nil && sample.GetDeadLetters() == 0 && sample.GetParkedChanges() == 0, nil
	})
}

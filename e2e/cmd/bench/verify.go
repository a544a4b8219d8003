package main

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"go.mongodb.org/mongo-driver/v2/mongo"

	"github.com/atlas-relay/atlas-relay/e2e/harness"
)

// verified is what relayctl verify told of itself.
type verified struct {
	rate   float64 // documents per second, from its start to its end
	memory int64   // peak
}

// verify compares two deployments that are equal: small documents, then large ones.
func (b *bench) verify(ctx context.Context) (err error) {
	if b.results.verified, err = b.verifyOf(ctx, b.cfg.Changes, b.cfg.Size); err != nil {
		return err
	}

	b.results.verifiedLarge, err = b.verifyOf(ctx, b.cfg.Large, largest)

	return err
}

func (b *bench) verifyOf(ctx context.Context, documents, size int) (result verified, err error) {
	env := map[string]string{"WITHOUT_EXISTING": "true"}

	err = b.apart(ctx, 0, env, func(world *harness.World, relay *harness.Relay) error {
		for _, place := range []harness.Place{world.Source, world.Target} {
			if err := fill(ctx, place.Client.Database(database), documents, size); err != nil {
				return err
			}
		}

		if err := relay.Init(ctx); err != nil {
			return err
		}

		result, err = measureVerify(ctx, relay, documents)

		return err
	})

	return result, err
}

// fill puts the documents into a side, large ones one by one.
func fill(ctx context.Context, db *mongo.Database, documents, size int) error {
	if size < largest {
		return load(ctx, db, 0, documents, size)
	}

	names := collections()

	for n := range documents {
		if _, err := db.Collection(names[n%len(names)]).InsertOne(ctx, document(n, size)); err != nil {
			return fmt.Errorf("insert: %w", err)
		}
	}

	return nil
}

func measureVerify(ctx context.Context, relay *harness.Relay, documents int) (verified, error) {
	answer, err := relay.CtlAnswer(ctx, "verify", "-o", "json")
	if err != nil {
		return verified{}, fmt.Errorf("relayctl verify: %w", err)
	}

	report := struct {
		Outcome string    `json:"outcome"`
		Began   time.Time `json:"began"`
		Ended   time.Time `json:"ended"`
		Totals  struct {
			Documents int `json:"documents"`
		} `json:"totals"`
	}{}
	if err := json.Unmarshal(answer.Data, &report); err != nil {
		return verified{}, fmt.Errorf("read the report of relayctl verify, exit code %d: %w; %s", answer.Code, err, answer.Messages)
	}

	if report.Outcome != "equal" || report.Totals.Documents != documents {
		return verified{}, fmt.Errorf("%d documents are %s, not %d equal ones", report.Totals.Documents, report.Outcome, documents)
	}

	return verified{rate: perSecond(documents, report.Ended.Sub(report.Began)), memory: answer.Used.PeakMemory}, nil
}

// verifyRows are those of relayctl verify.

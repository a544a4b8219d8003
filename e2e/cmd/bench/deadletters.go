package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/atlas-relay/atlas-relay/e2e/harness"
	relayv1 "github.com/atlas-relay/atlas-relay/proto/relay/v1"
)

// letters is how many dead letters one action is for.
const letters = 10_000

// acted is what one action on all dead letters took.
type acted struct {
	takenUp, done time.Duration // until the service answered, and until nothing of it was under way any more
}

// deadLetters lets the target refuse documents until all of them are dead letters, removes the cause, and acts on all
// that match: once with each verb, while nothing else happens.
func (b *bench) deadLetters(ctx context.Context) error {
	env := map[string]string{"PARTITIONS": "16", "BYPASS_VALIDATION": "false", "MAX_RETRIES": "1", "RETRY_DELAYS": "100ms"}

	return b.apart(ctx, 0, env, func(world *harness.World, relay *harness.Relay) error {
		if err := createCollections(ctx, world.Source.Client.Database(database)); err != nil {
			return err
		}

		if err := relay.Init(ctx); err != nil {
			return err
		}

		if err := relay.Start(); err != nil {
			return err
		}

		conn, err := grpc.NewClient(relay.GRPCAddr(), grpc.WithTransportCredentials(insecure.NewCredentials()))
		if err != nil {
			return fmt.Errorf("connect to the statistics: %w", err)
		}
		defer conn.Close()

		client := relayv1.NewDeadLetterServiceClient(conn)

		b.results.acted = map[string]acted{}

		for i, verb := range letterVerbs() {
			if err := b.kill(ctx, world, relay, i); err != nil {
				return err
			}

			took, err := act(ctx, client, verb)
			if err != nil {
				return fmt.Errorf("%s: %w", verb, err)
			}

			b.results.acted[verb] = took
		}

		return nil
	})
}

func letterVerbs() []string { return []string{"replay", "refetch", "discard"} }

// kill makes so many more dead letters, and then has the target take what it refused.
func (b *bench) kill(ctx context.Context, world *harness.World, relay *harness.Relay, round int) error {
	target := world.Target.Client.Database(database)
	if err := validate(bson.D{{Key: "value", Value: "good"}})(ctx, target); err != nil {
		return err
	}

	err := loadEach(ctx, world.Source.Client.Database(database), round*letters, letters, func(id int) bson.D {
		return append(document(id, b.cfg.Size), bson.E{Key: "value", Value: "evil"})
	})
	if err != nil {
		return err
	}

	failed := uint64((round + 1) * letters)

	if _, err := relay.Await(ctx, "all of them dead letters", func(s *relayv1.Stats) bool { return s.GetFailedChanges() == failed }); err != nil {
		return err
	}

	return validate(bson.D{})(ctx, target)
}

// act does it to all and follows that to its end.
func act(ctx context.Context, client relayv1.DeadLetterServiceClient, verb string) (took acted, err error) {
	var response interface {
		GetOutcome() *relayv1.DeadLetterOutcome
		GetOperation() string
	}

	all := &relayv1.DeadLetterSelection{Selection: &relayv1.DeadLetterSelection_Filter{Filter: new(relayv1.DeadLetterFilter)}}
	begin := time.Now()

	switch verb {
	case "replay":
		response, err = client.ReplayDeadLetters(ctx, &relayv1.ReplayDeadLettersRequest{Selection: all, RequestedBy: "bench"})
	case "refetch":
		response, err = client.RefetchDeadLetters(ctx, &relayv1.RefetchDeadLettersRequest{Selection: all, RequestedBy: "bench"})
	default:
		response, err = client.DiscardDeadLetters(ctx, &relayv1.DiscardDeadLettersRequest{Selection: all, RequestedBy: "bench"})
	}

	if err != nil {
		return took, err
	}

	took.takenUp = time.Since(begin)

	if changed := response.GetOutcome().GetChanged(); changed != letters {
		return took, fmt.Errorf("%d records were changed", changed)
	}

	var o *relayv1.DeadLetterOperation

	err = harness.Await(ctx, 50*time.Millisecond, func(ctx context.Context) (bool, error) {
		got, err := client.GetDeadLetterOperation(ctx, &relayv1.GetDeadLetterOperationRequest{Name: response.GetOperation()})
		o = got.GetOperation()

		return o.GetDone(), err
	})
	took.done = time.Since(begin)

	if ended := o.GetApplied() + o.GetDiscarded(); err == nil && ended != letters {
		err = errors.New("not all came to what was asked for: " + o.String())
	}

	return took, err
}

package main

import (
	"context"
	"fmt"
	"slices"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
)

const (
	failingChanges = 100_000
	failingOf      = 100 // one document of so many fails
	failingRounds  = 5   // a drain takes four seconds, so one pair says little
)

// failingRound is the same backlog without and with documents that fail: such as differ from the others in the type of a
// field, and such as only a value tells apart.
type failingRound struct{ healthy, unlike, alike drained }

// failing drains backlogs in which documents fail on the target for good in turn with one of which it takes all.
func (b *bench) failing(ctx context.Context) error {
	for range failingRounds {
		r := failingRound{}

		for _, run := range []struct {
			into *drained
			kind any    // of a document that may fail; the others have an int32
			rule bson.D // of the target
			good int
		}{
			{&r.healthy, "0", bson.D{{Key: "value", Value: bson.D{{Key: "$type", Value: "string"}}}}, failingChanges},
			{&r.unlike, "0", bson.D{{Key: "kind", Value: bson.D{{Key: "$type", Value: "int"}}}}, failingChanges - failingChanges/failingOf},
			{&r.alike, int32(0), bson.D{{Key: "value", Value: "good"}}, failingChanges - failingChanges/failingOf},
		} {
			result, err := b.drain(ctx, drain{
				write: b.mixed(run.kind), prepare: validate(run.rule),
				changes: failingChanges, applied: run.good, env: map[string]string{"BYPASS_VALIDATION": "false"},
			})
			if err != nil {
				return err
			}

			*run.into = result
		}

		b.linef("  %s, with failing documents %s and %s; CPU %.2f, %.2f, %.2f s",
			rate(r.healthy.rate), rate(r.unlike.rate), rate(r.alike.rate), r.healthy.cpu.Seconds(), r.unlike.cpu.Seconds(), r.alike.cpu.Seconds())

		b.results.failing = append(b.results.failing, r)
	}

	return nil
}

// mixed writes documents of which one in so many has another value, and this kind.
func (b *bench) mixed(kind any) func(context.Context, *mongo.Database) error {
	return func(ctx context.Context, source *mongo.Database) error {
		return loadEach(ctx, source, 0, failingChanges, func(id int) bson.D {
			if id%failingOf == 0 {
				return append(document(id, b.cfg.Size), bson.E{Key: "kind", Value: kind}, bson.E{Key: "value", Value: "evil"})
			}

			return append(document(id, b.cfg.Size), bson.E{Key: "kind", Value: int32(0)}, bson.E{Key: "value", Value: "good"})
		})
	}
}

// validate gives every collection of the target a rule.
func validate(rule bson.D) func(context.Context, *mongo.Database) error {
	return func(ctx context.Context, target *mongo.Database) error {
		for _, name := range collections() {
			if err := target.RunCommand(ctx, bson.D{{Key: "collMod", Value: name}, {Key: "validator", Value: rule}}).Err(); err != nil {
				return fmt.Errorf("set the validator of %s: %w", name, err)
			}
		}

		return nil
	}
}

func (b *bench) failingRows() []row {
	// of is the median over the rounds.
	of := func(figure func(failingRound) float64) float64 {
		figures := make([]float64, 0, failingRounds)
		for _, r := range b.results.failing {
			figures = append(figures, figure(r))
		}

		slices.Sort(figures)

		return figures[len(figures)/2]
	}

	memory := int64(0)
	for _, r := range b.results.failing {
		memory = max(memory, r.unlike.memory, r.alike.memory)
	}

	return []row{
		plain(fmt.Sprintf("a validator that all documents pass, median of %d rounds", failingRounds),
			rate(of(func(r failingRound) float64 { return r.healthy.rate }))),
		above(fmt.Sprintf("— 1 of %d fails, of another type: rate of the others, of that", failingOf),
			of(func(r failingRound) float64 { return r.unlike.rate / r.healthy.rate }), failingGoal, share),
		plain("— CPU time of processor and target", share(of(func(r failingRound) float64 { return r.unlike.cpu.Seconds() / r.healthy.cpu.Seconds() }))),
		above(fmt.Sprintf("— 1 of %d fails, only for a value: rate of the others, of that", failingOf),
			of(func(r failingRound) float64 { return r.alike.rate / r.healthy.rate }), failingGoal, share),
		plain("— CPU time of processor and target", share(of(func(r failingRound) float64 { return r.alike.cpu.Seconds() / r.healthy.cpu.Seconds() }))),
		below("— peak memory: processor", memory, parkedGoal, mebibytes),
	}
}

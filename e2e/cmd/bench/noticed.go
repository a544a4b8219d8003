package main

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/atlas-relay/atlas-relay/e2e/harness"
	relayv1 "github.com/atlas-relay/atlas-relay/proto/relay/v1"
)

const (
	noticeRounds = 3
	noticeEvery  = 100 * time.Millisecond // between two looks
	noticeGoal   = takeOverGoal           // LEASE_TTL and one
	goneGoal     = 3 * time.Second
)

// noticed is how long after its end an instance is named as missed, and how long after its return it is no more; the
// longest of some rounds.
type noticed struct{ named, gone time.Duration }

// ending is a way in which an instance says nothing of its end.
type ending struct {
	name string
	do   func(*harness.Service) error
}

func endings() []ending {
	return []ending{{"is killed", (*harness.Service).Kill}, {"is frozen", (*harness.Service).Freeze}}
}

// victims are the kinds of instances.
const (
	aProcessor = "a processor"
	theActive  = "the active listener"
	aStandby   = "a standby"
)

// notice ends instances of an idle flow in each way in which they say nothing of it, and lets them come back.
func (b *bench) notice(ctx context.Context) error {
	return b.apart(ctx, 0, nil, func(_ *harness.World, relay *harness.Relay) error {
		if err := relay.Init(ctx); err != nil {
			return err
		}

		relay.AddListener(ctx, nil)

		if err := relay.Start(); err != nil {
			return err
		}

		if err := relay.Scale(ctx, sharing); err != nil {
			return err
		}

		if err := allIsFine(ctx, relay); err != nil {
			return err
		}

		active := func() *harness.Service { return ofState(ctx, relay, (*harness.Service).Streams) }
		standing := func() *harness.Service { return ofState(ctx, relay, (*harness.Service).StandsBy) }

		b.results.noticed = map[string]noticed{}

		for _, victim := range []struct {
			name string
			of   func() *harness.Service
		}{
			{aProcessor, func() *harness.Service { return relay.Processors()[1] }},
			{theActive, active},
			{aStandby, standing},
		} {
			for _, end := range endings() {
				for range noticeRounds {
					what := victim.name + " " + end.name

					seen, err := noticeOne(ctx, relay, victim.of(), end.do)
					if err != nil {
						return fmt.Errorf("%s: %w", what, err)
					}

					b.linef("  %s: named after %s, gone %s after its return", what, milliseconds(seen.named), milliseconds(seen.gone))

					worst := b.results.noticed[what]
					b.results.noticed[what] = noticed{max(worst.named, seen.named), max(worst.gone, seen.gone)}
				}
			}
		}

		return nil
	})
}

func noticeOne(ctx context.Context, relay *harness.Relay, victim *harness.Service, end func(*harness.Service) error) (seen noticed, err error) {
	reason := fmt.Sprintf("(process %d) has said nothing", victim.Process().PID())
	names := func(s *relayv1.Stats) bool {
		return slices.ContainsFunc(s.GetReasons(), func(r string) bool { return strings.Contains(r, reason) })
	}

	begin := time.Now()
	if err := end(victim); err != nil {
		return seen, err
	}

	if seen.named, err = until(ctx, relay, begin, names); err != nil {
		return seen, err
	}

	begin = time.Now()
	if err := ready(victim); err != nil {
		return seen, err
	}

	if seen.gone, err = until(ctx, relay, begin, func(s *relayv1.Stats) bool { return !names(s) }); err != nil {
		return seen, err
	}

	return seen, allIsFine(ctx, relay)
}

// until is how long it takes until a sample holds.
func until(ctx context.Context, relay *harness.Relay, begin time.Time, holds func(*relayv1.Stats) bool) (took time.Duration, err error) {
	err = harness.Await(ctx, noticeEvery, func(ctx context.Context) (bool, error) {
		sample, err := relay.Sample(ctx)
		took = time.Since(begin)

		return err == nil && holds(sample), err
	})

	return took, err
}

func allIsFine(ctx context.Context, relay *harness.Relay) error {
	_, err := relay.Await(ctx, "a flow that is fine", func(s *relayv1.Stats) bool {
		return s.GetStatus() == relayv1.Status_STATUS_OK && len(s.GetListeners()) == 2 && len(s.GetProcessors()) == sharing
	})

	return err
}

// ofState is the first listener that says that it is in a state; the flow is fine, so there is one.
func ofState(ctx context.Context, relay *harness.Relay, is func(*harness.Service, *relayv1.Stats) bool) *harness.Service {
	sample, err := relay.Sample(ctx)
	if err != nil {
		return relay.Listener
	}

	for _, l := range relay.Listeners() {
		if is(l, sample) {
			return l
		}
	}

	return relay.Listener
}

func (b *bench) noticeRows() []row {
	var rows []row

	for _, victim := range []string{aProcessor, theActive, aStandby} {
		for _, end := range endings() {
			what := victim + " " + end.name
			seen := b.results.noticed[what]
			rows = append(rows,
				below(fmt.Sprintf("%s (LEASE_TTL 5 s): named in the status after, longest of %d", what, noticeRounds), seen.named, noticeGoal, milliseconds),
				below("— gone after its return", seen.gone, goneGoal, milliseconds))
		}
	}

	return rows
}

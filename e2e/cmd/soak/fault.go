package main

import (
	"context"
	"math/rand/v2"
	"time"

	"github.com/atlas-relay/atlas-relay/e2e/harness"
)

const (
	processors = 3
	// lasts is how long something frozen does nothing: longer than a lease, whose default is 5 s.
	lasts = 7 * time.Second
)

// A fault breaks a part. The listener, the statistics and the first processor are never killed and never leave: what they
// lose track of adds up over the whole run, and is seen.
type fault struct {
	what   string
	strike func(ctx context.Context, s *soak) error
	heal   func(s *soak) error // after a while; nil: it heals by itself
}

func faults() []fault {
	listener := func(s *soak) *harness.Service { return s.relay.Listener }
	statistics := func(s *soak) *harness.Service { return s.relay.Stats }
	first := func(s *soak) *harness.Service { return s.relay.Processors()[0] }
	second := func(s *soak) *harness.Service { return s.relay.Processors()[1] }
	bus := func(s *soak) *harness.Service { return s.world.NATS.Service }

	return []fault{
		frozen("the listener", listener),
		frozen("the statistics", statistics),
		frozen("a processor", first),
		frozen("NATS", bus),
		{
			what:   "freeze the source",
			strike: func(ctx context.Context, s *soak) error { return s.world.Source.Server.Freeze(ctx) },
			heal:   func(s *soak) error { return s.world.Source.Server.Thaw() },
		},
		{
			what:   "freeze the target",
			strike: func(ctx context.Context, s *soak) error { return s.world.Target.Server.Freeze(ctx) },
			heal:   func(s *soak) error { return s.world.Target.Server.Thaw() },
		},
		{
			what:   "kill -9 a processor", // who supervises starts it again
			strike: func(_ context.Context, s *soak) error { return second(s).Kill() },
		},
		{
			what: "kill -9 NATS and start it again",
			strike: func(_ context.Context, s *soak) error {
				if err := s.world.NATS.Kill(); err != nil {
					return err
				}

				return s.world.NATS.Start()
			},
		},
		{
			what:   "remove a processor and add it again",
			strike: func(ctx context.Context, s *soak) error { return s.relay.Scale(ctx, processors-1) },
			heal:   func(s *soak) error { return s.relay.Scale(context.Background(), processors) },
		},
	}
}

func frozen(what string, which func(*soak) *harness.Service) fault {
	return fault{
		what:   "freeze " + what,
		strike: func(_ context.Context, s *soak) error { return which(s).Freeze() },
		heal:   func(s *soak) error { return which(s).Thaw() },
	}
}

// disturb strikes one fault after the other until ctx ends, and leaves everything whole. They come from a deck that the
// seed has shuffled, so that each comes as often as any other.
func (s *soak) disturb(ctx context.Context) error {
	random := rand.New(rand.NewPCG(s.seed, 2))

	var deck []fault

	ticker := time.NewTicker(s.cfg.Every)
	defer ticker.Stop()

	for {
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
		}

		if len(deck) == 0 {
			deck = faults()
			random.Shuffle(len(deck), func(i, j int) { deck[i], deck[j] = deck[j], deck[i] })
		}

		s.struck++
		s.linef("fault %d: %s", s.struck, deck[0].what)

		if err := s.strike(ctx, &deck[0]); err != nil {
			return err
		}

		deck = deck[1:]
	}
}

// strike breaks something and waits until it is whole again, however soon the run ends.
func (s *soak) strike(ctx context.Context, f *fault) error {
	if err := f.strike(context.WithoutCancel(ctx), s); err != nil || f.heal == nil {
		return err
	}

	select {
	case <-ctx.Done():
	case <-time.After(min(lasts, s.cfg.Every/2)): //nolint:mnd // the other half is for the flow to recover
	}

	return f.heal(s)
}

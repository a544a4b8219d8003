package chaos

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"

	"github.com/atlas-relay/atlas-relay/e2e/harness"
)

// paused is an operator who pauses the flow, or a part of it, and lets it go on.
type paused struct {
	namespace string // of the load's database; empty: everything
	lasts     uint64 // changes
}

func pauseClass() Class {
	return Class{
		Name: "pause", Says: "an operator pauses the flow or a collection, and lets it go on", Short: true,
		Draw: func(r *rand.Rand, _ *Plan) Fault {
			return &paused{namespace: []string{"", "", "orders", "events"}[r.IntN(4)], lasts: 100 + uint64(r.IntN(300))}
		},
	}
}

// String implements Fault.
func (f *paused) String() string {
	what := "the flow"
	if f.namespace != "" {
		what = f.namespace
	}

	return fmt.Sprintf("%s is paused for %d changes", what, f.lasts)
}

// Strike implements Fault.
func (f *paused) Strike(ctx context.Context, s *Stage) (Hit, error) {
	hit := Hit{Victim: string(processors), Detail: f.String()}

	var what []string
	if f.namespace != "" {
		what = []string{"--namespace", s.DB + "." + f.namespace}
	}

	if err := s.operate(ctx, append([]string{"flow", "pause", "--as", "chaos", "--reason", "to see"}, what...)...); err != nil {
		return hit, err
	}

	hit.Times = 1
	s.Pass(ctx, f.lasts, networkMost)

	return hit, s.operate(ctx, append([]string{"flow", "resume", "--as", "chaos"}, what...)...)
}

// operate runs relayctl until it says that it is done: what it asks may be away just now.
func (s *Stage) operate(ctx context.Context, args ...string) error {
	ctx, cancel := context.WithTimeout(ctx, natsPatience)
	defer cancel()

	var last error

	err := harness.Await(ctx, natsRetry, func(ctx context.Context) (bool, error) {
		ctx, cancel := context.WithTimeout(ctx, 4*natsRequest)
		defer cancel()

		out, code, err := s.Relay.Ctl(ctx, args...)
		if last = err; err == nil && code != 0 {
			last = fmt.Errorf("exit code %d: %s", code, out)
		}

		return last == nil, nil
	})
	if err != nil {
		return errors.Join(fmt.Errorf("relayctl %v: %w", args, err), last)
	}

	return nil
}

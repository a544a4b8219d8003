package collect

import (
	"cmp"
	"context"

	"golang.org/x/sync/errgroup"

	"github.com/atlas-relay/atlas-relay/pkg/parked"
	"github.com/atlas-relay/atlas-relay/services/stats/internal/deadletter"
	"github.com/atlas-relay/atlas-relay/services/stats/internal/tally"
)

// readParked fills in.Parked, or returns why not. While nothing is parked that
// is two look-ups in an index.
func (f *Flow) readParked(ctx context.Context, in *tally.Input) error {
	group, ctx := errgroup.WithContext(ctx)

	var set tally.Parked

	group.Go(func() (err error) {
		set.OldestWaiting, err = f.oldestParked(ctx, parked.Waiting)

		return err
	})
	group.Go(func() (err error) {
		if set.Dead, err = f.parked.Count(ctx, parked.Dead); err != nil || set.Dead == 0 {
			return err
		}

		set.More = set.Dead == deadletter.MostCounted
		set.OldestDead, err = f.oldestParked(ctx, parked.Dead)

		return err
	})

	if err := group.Wait(); err != nil {
		return err
	}

	in.Parked = &set

	return nil
}

// oldestParked returns the first record of a state; nil when there is none.
func (f *Flow) oldestParked(ctx context.Context, state parked.State) (*tally.SetAside, error) {
	letter, err := f.parked.Oldest(ctx, state)
	if err != nil || letter == nil {
		return nil, err
	}

	return &tally.SetAside{Namespace: letter.Namespace(), Code: letter.Code, Error: cmp.Or(letter.Error, letter.Unreadable)}, nil
}

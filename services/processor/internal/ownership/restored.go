package ownership

import (
	"context"
	"fmt"

	"github.com/atlas-relay/atlas-relay/pkg/checkpoint"
	"github.com/atlas-relay/atlas-relay/services/processor/internal/apply"
	"github.com/atlas-relay/atlas-relay/services/processor/internal/barrier"
)

// sameTarget returns what tells, beside the checkpoint, that the target has not been restored from a backup since the lane
// passed a schema change; nil where the checkpoint says it. To pass one is no commit, so the checkpoint in a backup of
// before may be the same, while the change itself is not made there: partition 0 will make it again, and data from behind
// it may not be there by then. The error is apply.ErrWentBack, or trouble of the target.
func (l *lane) sameTarget() func(ctx context.Context) error {
	switch {
	case l.claimed != nil:
		at := *l.claimed

		return func(ctx context.Context) error { return l.hasClaim(ctx, at) }
	case l.number != 0 && l.held.Position.Before(l.behind):
		return l.hasChange
	default:
		return nil
	}
}

// hasClaim makes sure that the target knows that this owner makes a schema change.
func (l *lane) hasClaim(ctx context.Context, at barrier.Barrier) error {
	d, err := barrier.Load(ctx, l.target, l.held.Flow)
	if err != nil {
		return err
	}

	if d.Executing == nil || d.Executing.Barrier != at || d.Executing.Epoch != l.held.Epoch {
		return fmt.Errorf("%w: it does not know that partition 0 has made the schema change at %s", apply.ErrWentBack, at.Position)
	}

	return nil
}

// hasChange makes sure that partition 0 is behind the schema change that this partition has passed.
func (l *lane) hasChange(ctx context.Context) error {
	first, present, err := checkpoint.LoadOne(ctx, l.target, l.held.Flow, 0)
	if err != nil {
		return err
	}

	if !present || first.Position.Before(l.behind) {
		return fmt.Errorf("%w: the schema change at %s is not made", apply.ErrWentBack, l.behind)
	}

	return nil
}

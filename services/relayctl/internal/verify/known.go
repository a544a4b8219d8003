package verify

import (
	"context"
	"fmt"

	"github.com/atlas-relay/atlas-relay/pkg/checkpoint"
	"github.com/atlas-relay/atlas-relay/pkg/event"
	"github.com/atlas-relay/atlas-relay/pkg/gap"
)

// noteKnown notes why the target may differ, as far as the flow knows it itself: nobody has to search for the cause then.
func (v *verification) noteKnown(ctx context.Context) error {
	notes := &v.book.state.Notes

	gaps, err := gap.Load(ctx, v.Target, v.Flow)
	if err != nil {
		return err
	}

	for i := range gaps {
		if gaps[i].Diverges() {
			*notes = append(*notes, fmt.Sprintf("the target may lack changes between positions %s and %s: gap %s was accepted",
				gaps[i].From.Position, gaps[i].To.Position, gaps[i].ID))
		}
	}

	unsupported, err := checkpoint.LoadUnsupported(ctx, v.Target, v.Flow)
	if err != nil {
		return err
	}

	for i := range unsupported {
		if n := unsupported[i].Unaccepted(); n > 0 {
			ns := event.Namespace{DB: unsupported[i].DB, Coll: unsupported[i].Coll}
			*notes = append(*notes, fmt.Sprintf("%s: %s could not be applied, events: %d", ns, unsupported[i].Operation, n))
		}
	}

	return nil
}

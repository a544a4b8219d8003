package collect

import (
	"context"
	"time"

	"github.com/atlas-relay/atlas-relay/pkg/gap"
)

// Gaps returns at most so many gaps of the flow, the oldest first, behind the one
// that was requested at this time under this _id; see gap.Page.
func (f *Flow) Gaps(ctx context.Context, at time.Time, id string, size int) ([]gap.Document, error) {
	return gap.Page(ctx, f.target, f.name, at, id, size)
}

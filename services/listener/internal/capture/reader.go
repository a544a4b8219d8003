package capture

import (
	"context"

	"github.com/atlas-relay/atlas-relay/pkg/failpoint"
	"github.com/atlas-relay/atlas-relay/services/listener/internal/changestream"
)

// Bounds of what lies between reader and publisher: a batch ends at either, and
// two batches wait. The event that passes the bytes is the last of its batch: one is
// at most readBatchBytes and an event large.
const (
	readBatchEvents = 256
	readBatchBytes  = 1 << 20
	readBatches     = 2
)

// read passes the changes on in batches until the stream fails or ctx ends. A
// batch ends at the latest when the cursor runs dry, so nothing waits.
func read(ctx context.Context, stream *changestream.Stream, out chan<- []changestream.Change) error {
	for {
		var (
			batch []changestream.Change
			size  int
		)

		for len(batch) < readBatchEvents && size < readBatchBytes {
			change, err := stream.Next(ctx)
			if err != nil {
				return sourceTrouble(err)
			}

			batch = append(batch, change)
			if change.Event != nil {
				size += len(change.Event.Raw)
			}

			if change.Dry {
				break
			}
		}

		if err := failpoint.Error(failpoint.SourceRead); err != nil {
			return sourceTrouble(err)
		}

		select {
		case out <- batch:
		case <-ctx.Done():
			return sourceTrouble(ctx.Err())
		}
	}
}

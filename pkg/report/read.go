package report

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"google.golang.org/protobuf/proto"

	"github.com/atlas-relay/atlas-relay/pkg/topology"
	relayv1 "github.com/atlas-relay/atlas-relay/proto/relay/v1"
)

// Put is a processor's report as it stands in the bucket.
type Put struct {
	*relayv1.ProcessorReport

	Revision uint64    // of its key: only grows
	At       time.Time // when it was put, by the NATS server's clock
}

// errIncomplete says that some reports may not have been read.
var errIncomplete = errors.New("the reports could not be read to their end")

// Processors reads what the flow's processors reported last, however long ago. A
// report that cannot be read is of another version and left out: its partitions
// are then missing.
func Processors(ctx context.Context, bucket jetstream.KeyValue, flow string) ([]Put, error) {
	watcher, err := bucket.Watch(ctx, topology.ProcessorReportKey(flow, "*"), jetstream.IgnoreDeletes())
	if err != nil {
		return nil, fmt.Errorf("read bucket %s: %w", topology.StatsBucket, err)
	}

	defer func() { _ = watcher.Stop() }() // a lost connection has stopped it already

	var reports []Put

	for {
		select {
		case entry, open := <-watcher.Updates():
			if !open {
				return nil, errIncomplete
			}

			if entry == nil { // all that there were
				return reports, nil
			}

			r := new(relayv1.ProcessorReport)
			if proto.Unmarshal(entry.Value(), r) == nil {
				reports = append(reports, Put{ProcessorReport: r, Revision: entry.Revision(), At: entry.Created()})
			}
		case <-ctx.Done():
			return nil, fmt.Errorf("%w: %w", errIncomplete, ctx.Err())
		}
	}
}

// OpenBucket opens the bucket of reports.
func OpenBucket(ctx context.Context, js jetstream.KeyValueManager) (jetstream.KeyValue, error) {
	bucket, err := js.KeyValue(ctx, topology.StatsBucket)
	if err != nil {
		return nil, fmt.Errorf("open bucket %s: %w", topology.StatsBucket, err)
	}

	return bucket, nil
}

package janitor

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

var errIncomplete = errors.New("the reports could not be read to their end")

// readReports reads what the flow's processors reported last, however long ago.
func readReports(ctx context.Context, js jetstream.KeyValueManager, flow string) ([]Report, error) {
	bucket, err := js.KeyValue(ctx, topology.StatsBucket)
	if err != nil {
		return nil, fmt.Errorf("open bucket %s: %w", topology.StatsBucket, err)
	}

	watcher, err := bucket.Watch(ctx, topology.ProcessorReportKey(flow, ">"), jetstream.IgnoreDeletes())
	if err != nil {
		return nil, fmt.Errorf("read bucket %s: %w", topology.StatsBucket, err)
	}

	defer func() { _ = watcher.Stop() }() // a lost connection has stopped it already

	var entries []jetstream.KeyValueEntry

	for complete := false; !complete; {
		select {
		case entry, open := <-watcher.Updates():
			switch {
			case !open:
				return nil, errIncomplete
			case entry == nil:
				complete = true
			default:
				entries = append(entries, entry)
			}
		case <-ctx.Done():
			return nil, fmt.Errorf("%w: %w", errIncomplete, ctx.Err())
		}
	}

	// Asked last, so that an age is rather too high.
	now, err := serverTime(ctx, bucket)
	if err != nil {
		return nil, err
	}

	var reports []Report
	for _, entry := range entries {
		reports = append(reports, parse(entry.Value(), now.Sub(entry.Created()))...)
	}

	return reports, nil
}

// serverTime is the clock by which the entries are dated.
func serverTime(ctx context.Context, bucket jetstream.KeyValue) (time.Time, error) {
	status, err := bucket.Status(ctx)
	if err != nil {
		return time.Time{}, fmt.Errorf("ask bucket %s: %w", topology.StatsBucket, err)
	}

	known, ok := status.(*jetstream.KeyValueBucketStatus)
	if !ok || known.StreamInfo().TimeStamp.IsZero() {
		return time.Time{}, fmt.Errorf("ask bucket %s: the server does not tell its time, reports have no age", topology.StatsBucket)
	}

	return known.StreamInfo().TimeStamp, nil
}

// parse reads one processor's report. What cannot be read is of another version:
// its partitions are then missing, which forbids purging.
func parse(value []byte, age time.Duration) []Report {
	r := new(relayv1.ProcessorReport)
	if proto.Unmarshal(value, r) != nil {
		return nil
	}

	reports := make([]Report, 0, len(r.GetPartitions()))

	for _, p := range r.GetPartitions() {
		reports = append(reports, Report{
			Partition:  int(p.GetPartition()),
			Epoch:      p.GetEpoch(),
			StreamID:   p.GetStreamId(),
			Generation: p.GetGeneration(),
			Sequence:   p.GetSequence(),
			Age:        age,
			Rewinding:  p.GetState() == relayv1.PartitionState_PARTITION_STATE_WAITING_REWIND,
		})
	}

	return reports
}

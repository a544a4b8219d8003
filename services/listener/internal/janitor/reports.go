package janitor

import (
	"context"
	"fmt"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/atlas-relay/atlas-relay/pkg/report"
	"github.com/atlas-relay/atlas-relay/pkg/topology"
	relayv1 "github.com/atlas-relay/atlas-relay/proto/relay/v1"
)

// readReports reads what the flow's processors reported last, however long ago.
func readReports(ctx context.Context, js jetstream.KeyValueManager, flow string) ([]Report, error) {
	bucket, err := report.OpenBucket(ctx, js)
	if err != nil {
		return nil, err
	}

	puts, err := report.Processors(ctx, bucket, flow)
	if err != nil {
		return nil, err
	}

	// Asked last, so that an age is rather too high.
	now, err := serverTime(ctx, bucket)
	if err != nil {
		return nil, err
	}

	var reports []Report
	for _, put := range puts {
		reports = append(reports, reportsOf(put.ProcessorReport, now.Sub(put.At))...)
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

// reportsOf returns what a processor says of each of its partitions.
func reportsOf(r *relayv1.ProcessorReport, age time.Duration) []Report {
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

package rewind

import (
	"context"
	"slices"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/atlas-relay/atlas-relay/pkg/event"
	"github.com/atlas-relay/atlas-relay/pkg/report"
	relayv1 "github.com/atlas-relay/atlas-relay/proto/relay/v1"
)

// Reports reads what the flow's processors said last of this stream. What they
// said of a stream that this one replaces is left out: its holes are not ours,
// its events have other numbers. So is what has a resume token that is none: the
// bucket may hold anything. Those partitions are missing then.
func Reports(ctx context.Context, js jetstream.KeyValueManager, flow, streamID string) ([]Report, error) {
	bucket, err := report.OpenBucket(ctx, js)
	if err != nil {
		return nil, err
	}

	puts, err := report.Processors(ctx, bucket, flow)
	if err != nil {
		return nil, err
	}

	reports := make([]Report, len(puts))
	for i, put := range puts {
		reports[i] = Report{Revision: put.Revision, Partitions: of(streamID, put.GetPartitions())}
	}

	return reports, nil
}

func of(streamID string, partitions []*relayv1.PartitionReport) []*relayv1.PartitionReport {
	return slices.DeleteFunc(partitions, func(p *relayv1.PartitionReport) bool {
		return p.GetStreamId() != "" && p.GetStreamId() != streamID || len(p.GetResumeToken()) > 0 && event.CheckDocument(p.GetResumeToken()) != nil
	})
}

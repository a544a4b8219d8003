package rewind

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/atlas-relay/atlas-relay/pkg/event"
	"github.com/atlas-relay/atlas-relay/pkg/report"
	"github.com/atlas-relay/atlas-relay/pkg/topology"
	relayv1 "github.com/atlas-relay/atlas-relay/proto/relay/v1"
)

// streamInfo is what of the server's answer nats.go leaves out, or is needed
// beside it.
type streamInfo struct {
	Error *jetstream.APIError `json:"error"`
	State struct {
		Deleted uint64 `json:"num_deleted"`
		Lost    struct {
			Messages []uint64 `json:"msgs"`
		} `json:"lost"`
	} `json:"state"`
}

// Requester is what Look asks of a connection: *nats.Conn.
type Requester interface {
	RequestWithContext(ctx context.Context, subject string, data []byte) (*nats.Msg, error)
}

// Look asks the server what the stream lacks.
func Look(ctx context.Context, nc Requester, stream string) (Damage, error) {
	reply, err := nc.RequestWithContext(ctx, "$JS.API.STREAM.INFO."+stream, nil)
	if err != nil {
		return Damage{}, fmt.Errorf("ask stream %s for what it lacks: %w", stream, err)
	}

	var info streamInfo
	if err := json.Unmarshal(reply.Data, &info); err != nil {
		return Damage{}, fmt.Errorf("ask stream %s for what it lacks: %w", stream, err)
	}

	if info.Error != nil {
		if info.Error.ErrorCode == jetstream.JSErrCodeStreamNotFound {
			return Damage{}, fmt.Errorf("ask stream %s for what it lacks: %w", stream, topology.ErrNoStream)
		}

		return Damage{}, fmt.Errorf("ask stream %s for what it lacks: %w", stream, info.Error)
	}

	return Damage{Deleted: info.State.Deleted, Lost: uint64(len(info.State.Lost.Messages))}, nil
}

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

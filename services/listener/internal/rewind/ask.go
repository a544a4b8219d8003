package rewind

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"google.golang.org/protobuf/proto"

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

// Look asks the server what the stream lacks.
func Look(ctx context.Context, nc *nats.Conn, stream string) (Damage, error) {
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

// Reports reads what the flow's processors said last of this stream. One that
// cannot be read is left out, and so is what they said of a stream that this one
// replaces: its holes are not ours, its events have other numbers. Those
// partitions are missing then.
func Reports(ctx context.Context, js jetstream.KeyValueManager, flow, streamID string) ([]Report, error) {
	bucket, err := js.KeyValue(ctx, topology.StatsBucket)
	if err != nil {
		return nil, fmt.Errorf("open bucket %s: %w", topology.StatsBucket, err)
	}

	watcher, err := bucket.Watch(ctx, topology.ProcessorReportKey(flow, "*"), jetstream.IgnoreDeletes())
	if err != nil {
		return nil, fmt.Errorf("read reports of bucket %s: %w", topology.StatsBucket, err)
	}

	defer func() { _ = watcher.Stop() }() // a lost connection has stopped it already

	var reports []Report

	for {
		select {
		case entry, open := <-watcher.Updates():
			if !open {
				return nil, errors.New("reports cannot be read: the watch ended")
			}

			if entry == nil { // all that there were
				return reports, nil
			}

			r := new(relayv1.ProcessorReport)
			if err := proto.Unmarshal(entry.Value(), r); err == nil {
				reports = append(reports, Report{Revision: entry.Revision(), Partitions: of(streamID, r.GetPartitions())})
			}
		case <-ctx.Done():
			return nil, fmt.Errorf("read reports of bucket %s: %w", topology.StatsBucket, ctx.Err())
		}
	}
}

func of(streamID string, partitions []*relayv1.PartitionReport) []*relayv1.PartitionReport {
	return slices.DeleteFunc(partitions, func(p *relayv1.PartitionReport) bool {
		return p.GetStreamId() != "" && p.GetStreamId() != streamID
	})
}

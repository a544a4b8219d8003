package ownership

import (
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/atlas-relay/atlas-relay/pkg/checkpoint"
	"github.com/atlas-relay/atlas-relay/pkg/topology"
	relayv1 "github.com/atlas-relay/atlas-relay/proto/relay/v1"
)

// Report is the status as the others of the flow are told of it.
//
//nolint:gosec // numbers of checkpoints and partitions are never negative; an owner is 64 random bits
func (s *Status) Report() *relayv1.PartitionReport {
	place := &s.Checkpoint.Place

	return &relayv1.PartitionReport{
		Partition:         uint32(s.Partition),
		State:             relayv1.PartitionState(relayv1.PartitionState_value["PARTITION_STATE_"+string(s.State)]),
		Reason:            s.Reason,
		StateTime:         stateTime(s),
		Epoch:             uint64(s.Checkpoint.Epoch),
		Owner:             uint64(s.Checkpoint.Owner),
		PendingBatchSize:  uint64(s.Batch),
		IsBatchProcessing: s.Processing,
		Sequence:          uint64(place.Sequence),
		Generation:        uint64(place.Generation),
		ResumeToken:       place.ResumeToken,
		Event:             uint64(place.Event),
		Count:             uint64(place.Count),
		StreamId:          place.StreamID,
		Position:          topology.EncodePosition(place.Position),
		HoleGeneration:    s.Hole,
		Skipped:           skippedAt(place),
		IsHeld:            s.Held,
	}
}

// stateTime is nil before the partition's first state.
func stateTime(s *Status) *timestamppb.Timestamp {
	if s.Since.IsZero() {
		return nil
	}

	return timestamppb.New(s.Since)
}

// skippedAt is nil where the checkpoint does not know.
func skippedAt(place *checkpoint.Place) *uint64 {
	if place.Skipped == nil {
		return nil
	}

	return new(uint64(*place.Skipped)) //nolint:gosec // never negative
}

package flow

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/atlas-relay/atlas-relay/pkg/checkpoint"
	"github.com/atlas-relay/atlas-relay/pkg/event"
	"github.com/atlas-relay/atlas-relay/pkg/gap"
	"github.com/atlas-relay/atlas-relay/pkg/report"
	"github.com/atlas-relay/atlas-relay/pkg/topology"
	relayv1 "github.com/atlas-relay/atlas-relay/proto/relay/v1"
)

// findHole says why a listener has to rewind the stream that ends with tail, by what
// listeners go by; empty: it has not to.
func (a *acceptance) findHole(ctx context.Context, tail *topology.Stored) (why string, err error) {
	marker, err := a.stream.LastMarker(ctx)
	if errors.Is(err, topology.ErrNoMessage) {
		return "", nil // nothing is known, and no listener goes on from there
	}

	if err != nil {
		return "", a.natsError(err)
	}

	if why, err = a.lacks(ctx, tail, &marker); err != nil || why != "" {
		return why, a.natsError(err)
	}

	reports, err := a.reports(ctx)
	if err != nil {
		return "", a.natsError(err)
	}

	for _, p := range reports {
		if p.HoleGeneration != nil && p.GetHoleGeneration() >= tail.Generation {
			return fmt.Sprintf("the owner of partition %d found that the stream lacks messages: %s", p.GetPartition(), p.GetReason()), nil
		}
	}

	return "", nil
}

func (a *acceptance) natsError(err error) error {
	if err == nil || errors.As(err, new(*RefusedError)) {
		return err
	}

	return fmt.Errorf("NATS at %s: %w", a.NATS.URL, err)
}

// lacks says what the stream itself tells of what it lacks; empty: nothing.
func (a *acceptance) lacks(ctx context.Context, tail, marker *topology.Stored) (string, error) {
	payload, err := a.stream.ParseMarker(marker)
	if err != nil {
		return "", err
	}

	damage, err := topology.LookForDamage(ctx, a.nc, a.stream.Name())
	if err != nil {
		return "", err
	}

	if damage.Exceeds(topology.Damage{Deleted: payload.GetNumDeleted(), Lost: payload.GetNumLost()}) {
		return fmt.Sprintf("the server misses %d messages amid the others and could not read %d (%d and %d were known)",
			damage.Deleted, damage.Lost, payload.GetNumDeleted(), payload.GetNumLost()), nil
	}

	heads, err := a.stream.Heads(ctx, marker, payload.GetHeads())
	if err != nil {
		return "", err
	}

	missing := topology.MissingEvents(&tail.Message, &marker.Message, heads, payload.GetHeads())
	if missing <= 0 {
		return "", nil
	}

	// The heads may be of later than the tail, while somebody publishes.
	end, err := a.stream.Tail(ctx)
	if err != nil || end.Sequence != tail.Sequence || end.ID != tail.ID {
		return "", err
	}

	return fmt.Sprintf("%d events that the stream's tail has counted since the last marker are in no partition", missing), nil
}

// reports are what processors said last of the partitions of this stream.
func (a *acceptance) reports(ctx context.Context) ([]*relayv1.PartitionReport, error) {
	bucket, err := report.OpenBucket(ctx, a.js)
	if errors.Is(err, jetstream.ErrBucketNotFound) {
		return nil, nil // nobody can have said anything
	}

	if err != nil {
		return nil, err
	}

	puts, err := report.Processors(ctx, bucket, a.Flow)
	if err != nil {
		return nil, err
	}

	var reports []*relayv1.PartitionReport

	for _, put := range puts {
		for _, p := range put.GetPartitions() {
			if p.GetStreamId() == a.stream.StreamID {
				reports = append(reports, p)
			}
		}
	}

	return reports, nil
}

func findGap(known []gap.Document, id string) *gap.Document {
	for i := range known {
		if known[i].ID == id {
			return &known[i]
		}
	}

	return nil
}

// planHole makes sure that the source cannot heal the hole, fences the owners, and
// returns the gap that the hole leaves: from the lowest checkpoint to the end of what
// the flow has, where the source has what follows it.
func (a *acceptance) planHole(ctx context.Context, tail *topology.Stored, why string, known []gap.Document) (*gap.Document, error) {
	held, err := a.checkpointsOfStream(ctx)
	if err != nil {
		return nil, err
	}

	if err := a.requirePointLost(ctx, held, why); err != nil {
		return nil, cmp.Or(a.takeBack(ctx, known), err)
	}

	to, err := a.edgeBehindHole(ctx, tail, held)
	if err != nil {
		return nil, err
	}

	id := gap.HoleID(a.Flow, a.stream.StreamID, tail.Sequence, tail.Generation, withdrawnBehind(known, a.stream.StreamID, tail.Sequence))

	if !a.DryRun {
		if held, err = a.fenceFor(ctx, &checkpoint.GapAhead{ID: id, After: int64(tail.Sequence)}); err != nil { //nolint:gosec // far below 2^63
			return nil, err
		}
	}

	generation, err := a.nextGeneration(ctx, tail, held)
	if err != nil {
		return nil, a.natsError(err)
	}

	counted, skipped := afterTail(tail)
	sum := sumUp(held)
	sum.skipped = max(sum.skipped, int64(skipped)) //nolint:gosec // far below 2^63

	return &gap.Document{
		ID: id, Flow: a.Flow, StreamID: a.stream.StreamID,
		Sequence: int64(tail.Sequence), Event: sum.total(), Skipped: sum.skipped, //nolint:gosec // far below 2^63
		Generation: generation, Lost: max(sum.lost(), int64(counted)-sum.total()), //nolint:gosec // as above
		From: gap.Edge{Position: sum.lowest.Position, ResumeToken: sum.lowest.ResumeToken},
		To:   to, State: gap.Open, Requested: a.By.signed(),
	}, nil
}

func withdrawnBehind(known []gap.Document, streamID string, sequence uint64) int {
	n := 0

	for i := range known {
		if g := &known[i]; g.StreamID == streamID && g.Generation > 0 && uint64(g.Sequence) == sequence && g.State == gap.Withdrawn { //nolint:gosec // never negative
			n++
		}
	}

	return n
}

// checkpointsOfStream are those of all partitions, each of which has one of this stream.
func (a *acceptance) checkpointsOfStream(ctx context.Context) (map[int]checkpoint.Document, error) {
	held, err := checkpoint.Load(ctx, a.target, a.Flow)
	if err != nil {
		return nil, mongoTrouble("TARGET_URI", a.TargetURI, err)
	}

	for number := range a.stream.Partitions {
		if held[number].StreamID != a.stream.StreamID {
			return nil, &RefusedError{
				What: fmt.Sprintf("the stream has a hole, and partition %d has no checkpoint of it: what is applied is not known", number),
				Next: "start a processor, and run this again when it owns the partition: relayctl status",
			}
		}
	}

	return held, nil
}

// requirePointLost refuses while the source still has what a rewind needs: then a
// listener heals the hole, and a gap would be made, not accepted.
func (a *acceptance) requirePointLost(ctx context.Context, held map[int]checkpoint.Document, why string) error {
	lowest := sumUp(held).lowest
	token := lowest.ResumeToken

	if a.stream.DDL {
		marker, ok, err := topology.MarkerUpTo(ctx, a.stream, lowest.Position) // where the listener rewinds it to
		if err != nil {
			return a.natsError(err)
		}

		if ok {
			token = marker.ResumeToken
		}
	}

	_, err := probe(ctx, a.source, after(token))

	switch {
	case isHistoryLost(err):
		return nil
	case err != nil:
		return mongoTrouble("SOURCE_URI", a.SourceURI, err)
	}

	return &RefusedError{
		What: fmt.Sprintf("there is no gap: the stream has a hole (%s), and the source still has every change that follows the lowest checkpoint, that of partition %d",
			why, lowest.Partition),
		Next: "see that every partition has an owner, and restart the listener if it says HISTORY_LOST: it publishes everything behind that checkpoint again",
	}
}

// edgeBehindHole is where the source is read on: behind everything that the flow has,
// if the source has what follows that, for else a gap would be made that is none.
func (a *acceptance) edgeBehindHole(ctx context.Context, tail *topology.Stored, held map[int]checkpoint.Document) (gap.Edge, error) {
	end := gap.Edge{Position: reached(tail), ResumeToken: tail.ResumeToken}
	if !tail.EndsEvent() {
		end.Position = before(tail.Position) // it comes again, as a whole
	}

	what := "the stream's tail"

	// A stream that was set back may end before what is applied.
	if highest := sumUp(held).highest; highest.Position.Compare(end.Position) > 0 {
		end, what = gap.Edge{Position: highest.Position, ResumeToken: highest.ResumeToken}, "the highest checkpoint"
	}

	_, err := probe(ctx, a.source, after(end.ResumeToken))

	switch {
	case err == nil && a.At == "":
		return end, nil
	case err == nil:
		return gap.Edge{}, &RefusedError{
			What: fmt.Sprintf("the source still has every change that follows %s at %s: going on at %s would leave out more than is lost", what, end.Position, a.At),
			Next: "leave --at out",
		}
	case isHistoryLost(err):
		return a.edge(ctx, end.Position, what)
	default:
		return gap.Edge{}, mongoTrouble("SOURCE_URI", a.SourceURI, err)
	}
}

// before returns a position before this one and behind all events that precede it,
// as far as their order is known without them.
func before(p event.Position) event.Position {
	switch {
	case p.Ordinal > 0:
		p.Ordinal--
	case p.I > 0:
		p.I--
	default:
		p.T, p.I = p.T-1, math.MaxUint32
	}

	return p
}

// nextGeneration is above every one that a checkpoint, a hole or a message names: a
// stream that was set back behind its last rewind must not use a number again.
func (a *acceptance) nextGeneration(ctx context.Context, tail *topology.Stored, held map[int]checkpoint.Document) (int64, error) {
	highest := tail.Generation

	for _, d := range held {
		highest = max(highest, d.StreamGeneration())
	}

	reports, err := a.reports(ctx)
	if err != nil {
		return 0, err
	}

	for _, p := range reports {
		highest = max(highest, p.GetGeneration(), p.GetHoleGeneration())
	}

	return int64(highest) + 1, nil //nolint:gosec // far below 2^63
}

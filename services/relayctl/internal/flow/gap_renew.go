package flow

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/atlas-relay/atlas-relay/pkg/checkpoint"
	"github.com/atlas-relay/atlas-relay/pkg/event"
	"github.com/atlas-relay/atlas-relay/pkg/gap"
	"github.com/atlas-relay/atlas-relay/pkg/retry"
	"github.com/atlas-relay/atlas-relay/pkg/topology"
)

// isGone tells whether the stream is absent or has no message left.
func (a *acceptance) isGone(ctx context.Context) (bool, error) {
	if a.stream == nil {
		return true, nil
	}

	state, _, err := a.stream.State(ctx)
	if errors.Is(err, topology.ErrNoStream) {
		return true, nil
	}

	return err == nil && state.Msgs == 0, err
}

// renew goes on without the stream. What is applied is known from the
// checkpoints alone; what else was in the stream is part of the gap. Then, in
// this order, and finished by the next run wherever one ends:
//
//	owners are fenced    what they still have in memory is not applied any more
//	the gap is recorded  with the new stream's id, place and numbers
//	the stream is made   message 1 names the old stream
//	the gap is closed
//
// The owners of the partitions re-base their checkpoints on message 1.
func (a *acceptance) renew(ctx context.Context, known []gap.Document) (*AcceptedGap, error) {
	settings, held, err := a.checkRenewal(ctx)
	if err != nil {
		return nil, err
	}

	open := openRenewal(known, held)

	if !a.DryRun {
		if held, err = a.fence(ctx); err != nil {
			return nil, err
		}

		if err := a.closeEarlier(ctx, known, held); err != nil {
			return nil, err
		}
	}

	if open != nil && sumUp(held).agrees(open) {
		if a.DryRun {
			return &AcceptedGap{Gap: shownGap(open), Resumed: true, DryRun: true}, nil
		}

		a.anew = settings

		return a.conclude(ctx, open, true)
	}

	wanted, err := a.planRenewal(ctx, known, held)
	if err != nil {
		return nil, err
	}

	if a.DryRun {
		return &AcceptedGap{Gap: shownGap(wanted), DryRun: true}, nil
	}

	if open != nil { // the stream came back meanwhile, and is gone again
		if err := gap.Finish(ctx, a.target, open.ID, gap.Withdrawn); err != nil {
			return nil, mongoTrouble("TARGET_URI", a.TargetURI, err)
		}

		wanted.ID = gap.EndID(a.Flow, wanted.StreamID, withdrawn(known, wanted.StreamID)+1)
	}

	recorded, err := gap.Record(ctx, a.target, wanted)
	if err != nil {
		return nil, mongoTrouble("TARGET_URI", a.TargetURI, err)
	}

	a.anew = settings

	return a.conclude(ctx, &recorded, false)
}

// conclude makes the stream of a recorded gap.
func (a *acceptance) conclude(ctx context.Context, g *gap.Document, resumed bool) (*AcceptedGap, error) {
	var err error
	if g.State, err = a.finish(ctx, g); err != nil {
		return nil, err
	}

	if g.State == gap.Withdrawn {
		return nil, &RefusedError{
			What: fmt.Sprintf("stream %s is there again, with messages", topology.StreamName(a.Flow)),
			Next: "nothing, if relayctl status is fine; else run this again",
		}
	}

	return &AcceptedGap{Gap: shownGap(g), Resumed: resumed}, nil
}

// checkRenewal refuses what would fail later, before anything is changed.
func (a *acceptance) checkRenewal(ctx context.Context) (*topology.Settings, map[int]checkpoint.Document, error) {
	held, err := checkpoint.Load(ctx, a.target, a.Flow)
	if err != nil {
		return nil, nil, mongoTrouble("TARGET_URI", a.TargetURI, err)
	}

	if len(held) == 0 {
		return nil, nil, &RefusedError{
			What: fmt.Sprintf("flow %s has no stream to go on with, and no checkpoint: nothing of it was applied", a.Flow),
			Next: "relayctl flow init makes the stream",
		}
	}

	if err := a.checkPartitions(held); err != nil {
		return nil, nil, err
	}

	init := &initialisation{InitSettings: &a.InitSettings, js: a.js, set: a.Set}
	init.Partitions, init.WithoutExisting = len(held), true

	settings, _, err := init.askSource(ctx)

	return &settings, held, err
}

// checkPartitions: a document's partition is its key's hash modulo their number,
// so events would reach a partition that knows nothing of those parked before.
func (a *acceptance) checkPartitions(held map[int]checkpoint.Document) error {
	for number := range len(held) {
		if _, ok := held[number]; !ok {
			return &RefusedError{
				What: fmt.Sprintf("the target holds %d checkpoints of flow %s and none of partition %d: how many partitions there were is not known",
					len(held), a.Flow, number),
				Next: "restore the target's atlas_relay.checkpoints; or copy the data again: relayctl flow delete --yes, relayctl flow init",
			}
		}
	}

	if a.Set["PARTITIONS"] && a.Partitions != len(held) {
		return &RefusedError{
			What: fmt.Sprintf("PARTITIONS=%d, the checkpoints of flow %s have %d", a.Partitions, a.Flow, len(held)),
			Next: fmt.Sprintf("unset PARTITIONS, or PARTITIONS=%d", len(held)),
		}
	}

	return nil
}

// openRenewal returns the gap that an earlier run recorded for the stream that
// the checkpoints name; nil when there is none.
func openRenewal(known []gap.Document, held map[int]checkpoint.Document) *gap.Document {
	lost := sumUp(held).highest.StreamID

	for i := range known {
		if g := &known[i]; g.State == gap.Open && g.ReplacedBy != "" && g.StreamID == lost {
			return g
		}
	}

	return nil
}

func withdrawn(known []gap.Document, streamID string) int {
	n := 0

	for i := range known {
		if g := &known[i]; g.StreamID == streamID && g.ReplacedBy != "" && g.State == gap.Withdrawn {
			n++
		}
	}

	return n
}

// fence takes the partitions from whoever has them, and returns the checkpoints
// as they then stay: an owner that comes again needs the stream to go on. Without
// it a batch that is in memory could be applied and counted after the sum was made.
func (a *acceptance) fence(ctx context.Context) (map[int]checkpoint.Document, error) {
	err := await(ctx, func(ctx context.Context) error {
		_, err := checkpoint.Checkpoints(a.target).UpdateMany(ctx,
			bson.D{{Key: "flow", Value: a.Flow}},
			bson.D{{Key: "$inc", Value: bson.D{{Key: "epoch", Value: 1}}}, {Key: "$set", Value: bson.D{{Key: "owner", Value: rand.Int64()}}}}) //nolint:gosec // it tells owners apart
		if err == nil {
			return nil
		}

		err = mongoTrouble("TARGET_URI", a.TargetURI, fmt.Errorf("fence the owners: %w", err))
		if errors.As(err, new(*RefusedError)) {
			return retry.Permanent(err)
		}

		return err
	})
	if err != nil {
		return nil, err
	}

	held, err := checkpoint.Load(ctx, a.target, a.Flow)
	if err != nil {
		return nil, mongoTrouble("TARGET_URI", a.TargetURI, err)
	}

	return held, nil
}

// closeEarlier closes gaps of the lost stream that were recorded and not finished:
// nobody can any more, and they are part of the one that it leaves.
func (a *acceptance) closeEarlier(ctx context.Context, known []gap.Document, held map[int]checkpoint.Document) error {
	streams := sumUp(held).streams

	for i := range known {
		if g := &known[i]; g.State == gap.Open && g.ReplacedBy == "" && slices.Contains(streams, g.StreamID) {
			if err := gap.Finish(ctx, a.target, g.ID, gap.Closed); err != nil {
				return mongoTrouble("TARGET_URI", a.TargetURI, err)
			}
		}
	}

	return nil
}

// applied is what the checkpoints say together.
type applied struct {
	highest, lowest checkpoint.Document
	streams         []string // that they name, in order
	settled         int64    // processed, failed or skipped by processors, or parked
	skipped         int64    // by the listener
	sequence        int64    // highest
}

func sumUp(held map[int]checkpoint.Document) applied {
	var a applied

	for number := range len(held) {
		d := held[number]

		if number == 0 || d.Position.Compare(a.highest.Position) > 0 {
			a.highest = d
		}

		if number == 0 || d.Position.Compare(a.lowest.Position) < 0 {
			a.lowest = d
		}

		a.settled += d.Counters.Processed + d.Counters.Failed + d.Counters.Skipped + d.Parked
		a.sequence = max(a.sequence, d.Sequence)
		a.streams = append(a.streams, d.StreamID)

		if d.Skipped != nil {
			a.skipped = max(a.skipped, *d.Skipped)
		}
	}

	slices.Sort(a.streams)
	a.streams = slices.Compact(a.streams)

	return a
}

// total is what is counted of the flow at message 1 of the new stream, where
// every partition has count 0: total = processed + failed + skipped + pending.
func (a applied) total() int64 { return a.settled + a.skipped }

// lost is how many events the stream had at least that are applied nowhere: all
// up to the highest checkpoint were counted there.
func (a applied) lost() int64 { return max(0, a.highest.Event-a.total()) }

// agrees tells whether a record is about these checkpoints.
func (a applied) agrees(g *gap.Document) bool {
	return g.Event == a.total() && g.Skipped == a.skipped && slices.Equal(g.Replaces, a.streams)
}

// planRenewal makes sure that the source can be read behind the checkpoints.
func (a *acceptance) planRenewal(ctx context.Context, known []gap.Document, held map[int]checkpoint.Document) (*gap.Document, error) {
	sum := sumUp(held)

	to, err := a.edge(ctx, sum.highest.Position, "the highest checkpoint")
	if err != nil {
		return nil, err
	}

	lost := sum.highest.StreamID

	return &gap.Document{
		ID: gap.EndID(a.Flow, lost, withdrawn(known, lost)), Flow: a.Flow, StreamID: lost,
		Sequence: sum.sequence, Event: sum.total(), Skipped: sum.skipped,
		ReplacedBy: topology.NewStreamID(), Replaces: sum.streams, Partitions: len(held), Lost: sum.lost(),
		From: gap.Edge{Position: sum.lowest.Position, ResumeToken: sum.lowest.ResumeToken},
		To:   to, State: gap.Open, Requested: a.By.signed(),
	}, nil
}

// firstOf is message 1 of the stream that goes on behind a gap.
func firstOf(g *gap.Document, payload []byte) *event.Message {
	return &event.Message{
		Kind:        event.KindMarker,
		StreamID:    g.ReplacedBy,
		Position:    g.To.Position,
		ResumeToken: g.To.ResumeToken,
		Event:       uint64(g.Event),   //nolint:gosec // never negative
		Skipped:     uint64(g.Skipped), //nolint:gosec // never negative
		Part:        1,
		Parts:       1,
		Size:        len(payload),
		Attempt:     1,
		Payload:     payload,
	}
}

// settingsOf are those of the stream that goes on behind a gap.
func (a *acceptance) settingsOf(g *gap.Document) topology.Settings {
	s := *a.anew
	s.StreamID, s.Partitions = g.ReplacedBy, g.Partitions
	s.FirstToken = base64.StdEncoding.EncodeToString(g.To.ResumeToken)

	return s
}

package flow

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/atlas-relay/atlas-relay/pkg/checkpoint"
	"github.com/atlas-relay/atlas-relay/pkg/gap"
	"github.com/atlas-relay/atlas-relay/pkg/retry"
	"github.com/atlas-relay/atlas-relay/pkg/topology"
)

// fenceFor takes the partitions from whoever has them, and keeps them from all until
// the marker of the gap is in the stream: unlike where the stream is gone, who takes
// one again would go on with what the stream still has, and be counted twice. It
// returns the checkpoints as they then stay.
//
// A checkpoint is only fenced as it was read, while nothing followed the tail: one that
// is behind the gap already must not go back. Errors: as errMoved.
func (a *acceptance) fenceFor(ctx context.Context, ahead *checkpoint.GapAhead) (held map[int]checkpoint.Document, err error) {
	err = await(ctx, func(ctx context.Context) error {
		for {
			var fenced bool

			held, fenced, err = a.fenceOnce(ctx, ahead)

			switch {
			case errors.As(err, new(*UnreachableError)):
				return err
			case err != nil:
				return retry.Permanent(err)
			case fenced:
				return nil
			}
		}
	})

	return held, err
}

// fenceOnce fences the checkpoints that are not; fenced tells that all were.
func (a *acceptance) fenceOnce(ctx context.Context, ahead *checkpoint.GapAhead) (held map[int]checkpoint.Document, fenced bool, err error) {
	if held, err = checkpoint.Load(ctx, a.target, a.Flow); err != nil {
		return nil, false, mongoTrouble("TARGET_URI", a.TargetURI, err)
	}

	state, err := a.stateOf(ctx, &gap.Document{ID: ahead.ID, Sequence: ahead.After})
	if err != nil {
		return nil, false, a.natsError(err)
	}

	if state == gap.Withdrawn {
		err = a.lift(ctx, ahead.ID)
	}

	if err != nil || state != gap.Open {
		return nil, false, cmp.Or(err, errMoved(a.stream.Name()))
	}

	fenced = true

	for number := range held {
		d := held[number]
		if d.Gap != nil && d.Gap.ID == ahead.ID {
			continue
		}

		fenced = false

		// One that does not match was committed or acquired meanwhile, and is read again.
		_, err := checkpoint.Checkpoints(a.target).UpdateOne(ctx,
			bson.D{{Key: "_id", Value: d.ID}, {Key: "epoch", Value: d.Epoch}, {Key: "owner", Value: d.Owner}, {Key: "commits", Value: d.Commits}},
			bson.D{
				{Key: "$inc", Value: bson.D{{Key: "epoch", Value: 1}}},
				{Key: "$set", Value: bson.D{{Key: "owner", Value: rand.Int64()}, {Key: "gap", Value: ahead}}}, //nolint:gosec // it tells owners apart
			})
		if err != nil {
			return nil, false, mongoTrouble("TARGET_URI", a.TargetURI, fmt.Errorf("fence the owners: %w", err))
		}
	}

	return held, fenced, nil
}

// lift lets the partitions go on where they are, behind a gap that is withdrawn.
func (a *acceptance) lift(ctx context.Context, id string) error {
	_, err := checkpoint.Checkpoints(a.target).UpdateMany(ctx,
		bson.D{{Key: "flow", Value: a.Flow}, {Key: "gap.id", Value: id}}, bson.D{{Key: "$unset", Value: bson.D{{Key: "gap", Value: ""}}}})
	if err != nil {
		return mongoTrouble("TARGET_URI", a.TargetURI, fmt.Errorf("lift the fences of gap %s: %w", id, err))
	}

	return nil
}

// takeBack lifts fences that no gap needs: those of a run that broke off before it
// recorded anything, where it turns out that there is no gap, those of a gap that was
// withdrawn, and those of one whose marker somebody has purged.
func (a *acceptance) takeBack(ctx context.Context, known []gap.Document) error {
	held, err := checkpoint.Load(ctx, a.target, a.Flow)
	if err != nil {
		return mongoTrouble("TARGET_URI", a.TargetURI, err)
	}

	for number := range held {
		d := held[number]
		if d.Gap == nil || a.DryRun {
			continue
		}

		needed, err := a.isNeeded(ctx, &d, known)
		if err == nil && !needed {
			err = a.lift(ctx, d.Gap.ID)
		}

		if err != nil {
			return err
		}
	}

	return nil
}

// isNeeded tells whether a checkpoint's fence is. The record of the gap decides, for a
// run that has not made it may only be slow: where that is faster than ours, its gap
// stays, and the next run finishes it.
func (a *acceptance) isNeeded(ctx context.Context, d *checkpoint.Document, known []gap.Document) (bool, error) {
	recorded := findGap(known, d.Gap.ID)
	if recorded == nil {
		edge := gap.Edge{Position: d.Position, ResumeToken: d.ResumeToken}

		written, err := gap.Record(ctx, a.target, &gap.Document{
			ID: d.Gap.ID, Flow: a.Flow, StreamID: d.StreamID, Sequence: d.Gap.After, Event: d.Event, Generation: d.Generation + 1,
			From: edge, To: edge, State: gap.Withdrawn, Requested: a.By.signed(),
		})
		if err != nil {
			return false, mongoTrouble("TARGET_URI", a.TargetURI, err)
		}

		recorded = &written
	}

	if recorded.State != gap.Closed {
		return recorded.State == gap.Open, nil
	}

	m, err := a.stream.NextMarker(ctx, uint64(d.Gap.After)+1) //nolint:gosec // never negative
	if errors.Is(err, topology.ErrNoMessage) {
		return true, nil // NATS has lost it; see openGap
	}

	if err != nil {
		return false, a.natsError(err)
	}

	marker, err := m.Marker()

	return marker.GetAcceptedGap() == d.Gap.ID, a.natsError(err)
}

// passage is how far the partitions have come with a gap.
type passage struct {
	passed bool // one of them is behind it
	ready  bool // all others are fenced for it, so its numbers are those that they have
}

func passageOf(held map[int]checkpoint.Document, g *gap.Document) passage {
	p := passage{ready: len(held) > 0}

	for number := range held {
		d := held[number]

		switch {
		case d.Gap != nil && d.Gap.ID == g.ID:
		case d.StreamID == g.StreamID && d.Generation >= g.Generation:
			p.passed = true
		default:
			p.ready = false
		}
	}

	return p
}

// stateOfHole is stateOf for a gap by which the partitions pass over a hole. Where the
// stream has something else behind the tail, its fences are lifted; if a partition has
// passed the gap nevertheless, because NATS lost the marker after that, the gap stays:
// rather one too many than one too few.
func (a *acceptance) stateOfHole(ctx context.Context, g *gap.Document) (gap.State, error) {
	state, err := a.stateOf(ctx, g)
	if err != nil || state == gap.Closed {
		return state, err
	}

	held, err := checkpoint.Load(ctx, a.target, a.Flow)
	if err != nil {
		return "", err
	}

	at := passageOf(held, g)

	if state == gap.Open && at.ready {
		return gap.Open, nil
	}

	if err := a.lift(ctx, g.ID); err != nil {
		return "", err
	}

	if at.passed {
		return gap.Closed, nil
	}

	return gap.Withdrawn, nil
}

package flow

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"

	"github.com/atlas-relay/atlas-relay/pkg/audit"
	"github.com/atlas-relay/atlas-relay/pkg/checkpoint"
	"github.com/atlas-relay/atlas-relay/pkg/gap"
	"github.com/atlas-relay/atlas-relay/pkg/mongodb"
	"github.com/atlas-relay/atlas-relay/pkg/settings"
)

// Gap is an accepted gap as it is shown.
type Gap struct {
	ID          string    `json:"id"`
	StreamID    string    `json:"stream_id"`
	Sequence    int64     `json:"sequence"` // of the last message before it
	Event       int64     `json:"event"`    // events counted before it
	From        string    `json:"from_position"`
	FromTime    time.Time `json:"from_time"`
	To          string    `json:"to_position"`
	ToTime      time.Time `json:"to_time"`
	ResumeToken string    `json:"resume_token"` // where the source is read on from, base64
	State       string    `json:"state"`
	By          string    `json:"by"`
	Reason      string    `json:"reason"`
	At          time.Time `json:"at"`
	ReplacedBy  string    `json:"replaced_by"` // id of the stream that goes on behind it; empty: the same one
	Lost        int64     `json:"lost_events"` // captured and applied nowhere, of a stream that is gone or had a hole: so many at least
	Divergence  *Accepted `json:"divergence"`  // null until it is accepted that the target may differ
}

// Accepted is who accepted a difference.
type Accepted struct {
	By     string    `json:"by"`
	Reason string    `json:"reason"`
	At     time.Time `json:"at"`
}

func shownGap(d *gap.Document) Gap {
	g := Gap{
		ID: d.ID, StreamID: d.StreamID, Sequence: d.Sequence, Event: d.Event,
		From: d.From.Position.String(), FromTime: d.From.Position.Time().UTC(),
		To: d.To.Position.String(), ToTime: d.To.Position.Time().UTC(),
		ResumeToken: base64.RawStdEncoding.EncodeToString(d.To.ResumeToken),
		State:       string(d.State), By: d.Requested.By, Reason: d.Requested.Reason, At: d.Requested.At,
		ReplacedBy: d.ReplacedBy, Lost: d.Lost,
	}

	if d.Divergence != nil {
		g.Divergence = &Accepted{By: d.Divergence.By, Reason: d.Divergence.Reason, At: d.Divergence.At}
	}

	return g
}

// TargetSettings are what commands need that ask the target only.
type TargetSettings struct {
	Flow      string       `env:"FLOW" envDefault:"atlas-to-local" help:"name of the flow: one direction, one source to one target"`
	TargetURI settings.URI `env:"TARGET_URI,required" help:"MongoDB whose database atlas_relay holds the flow's checkpoints and gaps"`
}

// Validate implements the check that settings.Load makes.
func (s *TargetSettings) Validate() error {
	return errors.Join(settings.Common{Flow: s.Flow}.Validate(), checkURI("TARGET_URI", s.TargetURI))
}

// AcceptDivergence accepts that the target differs by what is known now: gaps,
// and events of kinds that cannot be applied. What comes later counts again. It
// returns what was accepted, one sentence each.
func AcceptDivergence(ctx context.Context, s *TargetSettings, by Operator, dryRun bool) (accepted []string, err error) {
	target, _, err := connectMongo(ctx, "TARGET_URI", s.TargetURI, false)
	if err != nil {
		return nil, err
	}

	defer func() { _ = mongodb.Disconnect(ctx, target) }() // the server ends what is left by itself

	accept := func() (int, error) {
		accepted, err = acceptAll(ctx, target, s.Flow, by.signed(), dryRun)

		return len(accepted), mongoTroubleOrNil("TARGET_URI", s.TargetURI, err)
	}

	if dryRun {
		_, err = accept()

		return accepted, err
	}

	action := &audit.Action{Flow: s.Flow, Action: "flow accept-divergence", Selection: "all that is known"}
	err = audited(ctx, target, s.TargetURI, action, by, accept)

	return accepted, err
}

// acceptAll returns what was accepted, also beside an error.
func acceptAll(ctx context.Context, target *mongo.Client, flow string, by gap.Acceptance, dryRun bool) ([]string, error) {
	accepted, err := acceptGaps(ctx, target, flow, by, dryRun)
	if err != nil {
		return accepted, err
	}

	unsupported, err := acceptUnsupported(ctx, target, flow, by, dryRun)

	return append(accepted, unsupported...), err
}

func acceptGaps(ctx context.Context, target *mongo.Client, flow string, by gap.Acceptance, dryRun bool) ([]string, error) {
	gaps, err := gap.Load(ctx, target, flow)
	if err != nil {
		return nil, err
	}

	accepted := []string{}

	for i := range gaps {
		if !gaps[i].Diverges() {
			continue
		}

		if !dryRun {
			if err := gap.Accept(ctx, target, gaps[i].ID, by); err != nil {
				return accepted, err
			}
		}

		accepted = append(accepted, fmt.Sprintf("gap %s, from position %s to %s", gaps[i].ID, gaps[i].From.Position, gaps[i].To.Position))
	}

	return accepted, nil
}

func acceptUnsupported(ctx context.Context, target *mongo.Client, flow string, by gap.Acceptance, dryRun bool) ([]string, error) {
	documents, err := checkpoint.LoadUnsupported(ctx, target, flow)
	if err != nil {
		return nil, err
	}

	var accepted []string

	for i := range documents {
		d := &documents[i]
		if d.Unaccepted() == 0 {
			continue
		}

		if !dryRun {
			// The number as it was read: an event that comes meanwhile is not accepted.
			_, err := target.Database(checkpoint.Database).Collection(checkpoint.Unsupported).UpdateOne(ctx,
				bson.D{{Key: "_id", Value: d.ID}},
				bson.D{
					{Key: "$max", Value: bson.D{{Key: "accepted_events", Value: d.Events}}},
					{Key: "$set", Value: bson.D{{Key: "accepted", Value: by}}},
				})
			if err != nil {
				return accepted, fmt.Errorf("accept %s: %w", d.ID, err)
			}
		}

		accepted = append(accepted, fmt.Sprintf("%s on %s.%s, events: %d", d.Operation, d.DB, d.Coll, d.Unaccepted()))
	}

	return accepted, nil
}

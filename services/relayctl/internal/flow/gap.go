package flow

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"go.mongodb.org/mongo-driver/v2/mongo"

	"github.com/atlas-relay/atlas-relay/pkg/audit"
	"github.com/atlas-relay/atlas-relay/pkg/checkpoint"
	"github.com/atlas-relay/atlas-relay/pkg/gap"
	"github.com/atlas-relay/atlas-relay/pkg/mongodb"
	"github.com/atlas-relay/atlas-relay/pkg/topology"
)

// GapSettings are what AcceptGap needs. What a stream is made from counts only
// where the stream is gone; WithoutExisting never does.
type GapSettings struct{ InitSettings }

// GapRequest is what an operator wants.
type GapRequest struct {
	At     string // "now", a time in RFC 3339, or a resume token; see parseAt. Empty: where the source can be read again
	By     Operator
	DryRun bool
	Set    map[string]bool // variables that were given explicitly
}

// AcceptedGap is the result of AcceptGap.
type AcceptedGap struct {
	Gap Gap `json:"gap"`
	// Resumed says that an earlier run had recorded the gap and this one
	// finished it; then its own At and Reason were not used.
	Resumed bool `json:"resumed"`
	DryRun  bool `json:"dry_run"`
}

// acceptance is one run of AcceptGap.
type acceptance struct {
	*GapSettings
	GapRequest

	nc             *nats.Conn
	js             jetstream.JetStream
	stream         *topology.Stream // nil: there is none
	source, target *mongo.Client
	anew           *topology.Settings // of the stream to be made in the place of one that is gone; nil otherwise
}

// AcceptGap has a flow go on where the source can be read although the changes
// before that are lost. The gap is recorded in the target first, then a marker
// behind the stream's tail says where to read on; the listener that waits in
// HISTORY_LOST finds it. Run again after a crash it finishes what was begun.
// Nothing is done while the source still has what follows the tail. Where the
// stream is gone or empty, another one is made in its place; see renew. Where it has
// a hole that the source cannot heal, the partitions pass over that; see planHole.
func AcceptGap(ctx context.Context, s *GapSettings, request GapRequest, log *slog.Logger) (*AcceptedGap, error) {
	nc, js, err := connectNATS(ctx, &s.Connection, log)
	if err != nil {
		return nil, err
	}
	defer nc.Close()

	target, _, err := connectMongo(ctx, "TARGET_URI", s.TargetURI, false)
	if err != nil {
		return nil, err
	}

	defer func() { _ = mongodb.Disconnect(ctx, target) }() // the server ends what is left by itself

	source, hello, err := connectMongo(ctx, "SOURCE_URI", s.SourceURI, true)
	if err != nil {
		return nil, err
	}

	defer func() { _ = mongodb.Disconnect(ctx, source) }() // as above

	stream, err := topology.Open(ctx, js, s.Flow)
	if err != nil && !errors.Is(err, topology.ErrNoStream) {
		return nil, openTrouble(s.NATS.URL, s.Flow, err)
	}

	if stream != nil && !mongodb.SameDeployment(hello.Identity(), stream.Source) {
		return nil, &RefusedError{
			What: fmt.Sprintf("SOURCE_URI is %q, the flow was made from %q", hello.Identity(), stream.Source),
			Next: "point SOURCE_URI to the deployment that the flow was made from; another source needs a fresh copy: relayctl flow delete, relayctl flow init",
		}
	}

	a := &acceptance{GapSettings: s, GapRequest: request, nc: nc, js: js, stream: stream, source: source, target: target}

	accepted, err := a.recorded(ctx)

	return accepted, gaveUp(ctx, err)
}

// recorded is run, between two records of the audit where it changes something.
func (a *acceptance) recorded(ctx context.Context) (accepted *AcceptedGap, err error) {
	if a.DryRun {
		return a.run(ctx)
	}

	action := &audit.Action{Flow: a.Flow, Action: "flow accept-gap", Selection: "what is missing up to " + cmp.Or(a.At, "where the source can be read again")}
	err = audited(ctx, a.target, a.TargetURI, action, a.By, func() (int, error) {
		if accepted, err = a.run(ctx); err != nil {
			return 0, err
		}

		return 1, nil
	})

	return accepted, err
}

// run finishes the gap that an earlier run left, else records a new one.
func (a *acceptance) run(ctx context.Context) (*AcceptedGap, error) {
	known, err := gap.Load(ctx, a.target, a.Flow)
	if err != nil {
		return nil, mongoTrouble("TARGET_URI", a.TargetURI, err)
	}

	gone, err := a.isGone(ctx)
	if err != nil {
		return nil, fmt.Errorf("NATS at %s: %w", a.NATS.URL, err)
	}

	if gone {
		return a.renew(ctx, known)
	}

	open, err := a.openGap(ctx, known)
	if err != nil {
		return nil, err
	}

	if open != nil {
		if a.DryRun {
			return &AcceptedGap{Gap: shownGap(open), Resumed: true, DryRun: true}, nil
		}

		open.State, err = a.finish(ctx, open)
		if err != nil {
			return nil, err
		}

		if open.State == gap.Closed {
			return &AcceptedGap{Gap: shownGap(open), Resumed: true}, nil
		}
		// It was needless; whether there is one now is another question.
	}

	wanted, err := a.plan(ctx, known)
	if err != nil {
		return nil, err
	}

	if a.DryRun {
		return &AcceptedGap{Gap: shownGap(wanted), DryRun: true}, nil
	}

	return a.record(ctx, wanted)
}

// openGap returns the gap that was recorded and not finished and concerns the stream
// that is there; nil when there is none. One whose marker NATS has lost before every
// partition was behind it is such a gap again.
func (a *acceptance) openGap(ctx context.Context, known []gap.Document) (*gap.Document, error) {
	for i := range known {
		if g := &known[i]; g.State == gap.Open && (g.StreamID == a.stream.StreamID || g.ReplacedBy == a.stream.StreamID) {
			return g, nil
		}
	}

	held, err := checkpoint.Load(ctx, a.target, a.Flow)
	if err != nil {
		return nil, mongoTrouble("TARGET_URI", a.TargetURI, err)
	}

	for number := range held {
		if held[number].Gap == nil {
			continue
		}

		if g := findGap(known, held[number].Gap.ID); g != nil && g.State == gap.Closed {
			state, err := a.stateOf(ctx, g)
			if err != nil || state != gap.Closed {
				return g, a.natsError(err)
			}
		}
	}

	return nil, nil //nolint:nilnil // there is none, which is no error
}

// record writes the gap down and then has the stream go on behind it.
func (a *acceptance) record(ctx context.Context, wanted *gap.Document) (*AcceptedGap, error) {
	recorded, err := gap.Record(ctx, a.target, wanted)
	if err != nil {
		return nil, mongoTrouble("TARGET_URI", a.TargetURI, err)
	}

	recorded.State, err = a.finish(ctx, &recorded)
	if err != nil {
		return nil, err
	}

	if recorded.State == gap.Withdrawn {
		return nil, errMoved(a.stream.Name())
	}

	return &AcceptedGap{Gap: shownGap(&recorded)}, nil
}

func errMoved(stream string) error {
	return &RefusedError{
		What: fmt.Sprintf("stream %s went on while the gap was being recorded: its listener can read the source", stream),
		Next: "nothing, if relayctl status is fine; else run this again",
	}
}

// plan makes sure that there is a gap and that the source can be read behind it.
func (a *acceptance) plan(ctx context.Context, known []gap.Document) (*gap.Document, error) {
	tail, err := a.stream.Tail(ctx)
	if err != nil {
		return nil, fmt.Errorf("NATS at %s: %w", a.NATS.URL, err)
	}

	why, err := a.findHole(ctx, &tail)
	if err != nil {
		return nil, err
	}

	if why != "" {
		return a.planHole(ctx, &tail, why, known)
	}

	if err := a.takeBack(ctx, known); err != nil {
		return nil, err
	}

	if err := a.requireLost(ctx, &tail); err != nil {
		return nil, err
	}

	to, err := a.edge(ctx, reached(&tail), "the stream's tail")
	if err != nil {
		return nil, err
	}

	event, _ := afterTail(&tail)

	return &gap.Document{
		ID: gap.ID(a.Flow, a.stream.StreamID, tail.Sequence), Flow: a.Flow, StreamID: a.stream.StreamID,
		Sequence: int64(tail.Sequence), //nolint:gosec // far below 2^63
		Event:    int64(event),         //nolint:gosec // as above
		Skipped:  int64(tail.Skipped),  //nolint:gosec // as above
		From:     gap.Edge{Position: reached(&tail), ResumeToken: tail.ResumeToken},
		To:       to, State: gap.Open, Requested: a.By.signed(),
	}, nil
}

// requireLost refuses while the source still has what follows the tail: then a
// gap would be made, not accepted.
func (a *acceptance) requireLost(ctx context.Context, tail *topology.Stored) error {
	_, err := probe(ctx, a.source, after(tail.ResumeToken))

	switch {
	case err == nil:
		return &RefusedError{
			What: "there is no gap: the source still has every change that follows the stream's tail",
			Next: "start the listener; if it stopped for another reason, relayctl status tells it",
		}
	case isHistoryLost(err):
		return nil
	default:
		return mongoTrouble("SOURCE_URI", a.SourceURI, err)
	}
}

func isHistoryLost(err error) bool {
	return mongodb.IsHistoryLost(err) || mongodb.IsInvalidResumeToken(err)
}

// now is a time as the target keeps it: in milliseconds.
func now() time.Time { return time.Now().UTC().Truncate(time.Millisecond) }

package chaos

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/atlas-relay/atlas-relay/e2e/harness"
	"github.com/atlas-relay/atlas-relay/e2e/history"
	"github.com/atlas-relay/atlas-relay/e2e/history/record"
	"github.com/atlas-relay/atlas-relay/e2e/verify"
	"github.com/atlas-relay/atlas-relay/e2e/verify/live"
)

// errUnjudged says that the record of a run is not whole, so that only what is compared live was judged.
var errUnjudged = errors.New("the run was not recorded to its end")

// finishPatience is how long the recorders may take for what they have not read yet.
const finishPatience = time.Minute

// recording keeps the record of a run (package history), which e2e/verify judges in the end, and watches the order of
// writes on the target. A target that is restored from a backup has another change stream afterwards: both are watched
// by themselves.
type recording struct {
	stage  *Stage
	folder string

	recorder *record.Recorder // nil: there is none
	nc       *nats.Conn

	whole bool // the record has been finished

	order    *live.Order
	watched  chan error
	findings []error
}

// begin starts before flow init.
func (r *recording) begin(ctx context.Context) error {
	if err := r.beginTarget(ctx); err != nil || r.stage.Plan.Standalone {
		return err
	}

	nc, js, err := r.stage.World.JetStream()
	if err != nil {
		return err
	}

	r.nc = nc
	plan := r.stage.Plan

	r.recorder, err = record.Start(ctx, record.Options{
		Folder: r.folder, Source: r.stage.World.Source.Client, Target: r.stage.World.Target.Client, JetStream: js, Sample: r.stage.Relay.Sample,
		Meta: history.Meta{
			Flow: flow, Seed: strconv.FormatUint(plan.Seed, 10), Namespaces: []string{r.stage.DB + ".*"}, Schema: plan.Schema, LeaseTTL: plan.Lease,
			Refused: plan.refused(r.stage.DB),
		},
	})

	return err
}

// write takes what a client knows.
func (r *recording) write(w history.Write) {
	if r.recorder != nil {
		r.recorder.Write(w)
	}
}

func (r *recording) fault(f history.Fault) {
	if r.recorder != nil {
		r.recorder.Fault(f)
	}
}

// catchUp waits until the messages are recorded that the stream has now. Of a record that broke off there is none to wait for.
func (r *recording) catchUp(ctx context.Context) error {
	if r.recorder == nil {
		return nil
	}

	return r.stage.OnStream(ctx, func(_ context.Context, _ jetstream.JetStream, stream jetstream.Stream) error {
		has, more := r.recorder.Recorded()
		if last := stream.CachedInfo().State.LastSeq; more && has < last {
			return fmt.Errorf("the record ends at message %d, the stream at %d", has, last)
		}

		return nil
	})
}

// judge ends the recording and has it judged. Of a flow that has ended only what can be said of that is: that its target
// took no write twice, late or back, as far as it was watched.
func (r *recording) judge(ctx context.Context, ended bool) (findings []Finding, err error) {
	if err := r.endTarget(ctx); err != nil {
		return nil, err
	}

	// What the checker says comes first: it knows more.
	defer func() {
		for _, finding := range r.findings {
			findings = append(findings, Finding{Kind: "order", Text: finding.Error()})
		}
	}()

	if r.recorder == nil || ended {
		return findings, nil
	}

	recorder := r.recorder
	r.recorder = nil

	// Whoever waits for an event that never comes would wait for ever.
	watchdog := time.AfterFunc(finishPatience, recorder.Abandon)
	defer watchdog.Stop()

	if err := recorder.Finish(ctx); err != nil {
		return findings, fmt.Errorf("%w: %w", errUnjudged, err)
	}

	r.whole = true

	// A source transaction may be cut where a batch ends, and a fault that missed is told beside.
	report, err := verify.Check(r.folder, verify.Limits{})
	if err != nil {
		return nil, err
	}

	for i := range report.Findings {
		if f := &report.Findings[i]; f.Invariant != verify.Vacuity {
			findings = append(findings, Finding{Kind: string(f.Invariant) + " " + f.Kind, Text: f.String()})
		}
	}

	file, err := os.Create(filepath.Join(r.folder, "check.txt"))
	if err != nil {
		return findings, fmt.Errorf("write the checker's report: %w", err)
	}

	return findings, errors.Join(report.Write(file), file.Close())
}

// close ends what is still going on.
func (r *recording) close() {
	if r.recorder != nil {
		r.recorder.Abandon()
	}

	if r.nc != nil {
		r.nc.Close()
	}
}

// leaveTarget ends what is recorded of a target that is about to be restored.
func (r *recording) leaveTarget(ctx context.Context) error {
	if err := r.endTarget(ctx); err != nil || r.recorder == nil {
		return err
	}

	ctx, cancel := context.WithTimeout(ctx, natsPatience)
	defer cancel()

	return r.recorder.LeaveTarget(ctx)
}

// returnToTarget records what has come back.
func (r *recording) returnToTarget(ctx context.Context) error {
	if err := r.beginTarget(ctx); err != nil || r.recorder == nil {
		return err
	}

	return r.recorder.ReturnToTarget(ctx)
}

// beginTarget watches the target from now on. It may have come back just now. One without transactions has no change stream,
// and no promise of how often a write comes.
func (r *recording) beginTarget(ctx context.Context) error {
	if r.stage.Plan.Standalone {
		return nil
	}

	wait, cancel := context.WithTimeout(ctx, natsPatience)
	defer cancel()

	var last error

	err := harness.Await(wait, natsRetry, func(ctx context.Context) (bool, error) {
		ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
		defer cancel()

		r.order, last = live.NewOrder(ctx, r.stage.Target(), nil)

		return last == nil, nil
	})
	if err != nil {
		return fmt.Errorf("watch the target: %w (%w)", err, last)
	}

	order, watched := r.order, make(chan error, 1)
	r.watched = watched

	go func() { watched <- order.Run(ctx) }()

	return nil
}

// endTarget judges what was seen of the target since beginTarget.
func (r *recording) endTarget(ctx context.Context) error {
	if r.order == nil {
		return nil
	}

	order := r.order
	r.order = nil

	if err := order.Finish(ctx); err != nil {
		return err
	}

	select {
	case err := <-r.watched:
		if err != nil {
			return err
		}
	case <-time.After(natsPatience):
		return errors.New("the change stream of the target does not end")
	}

	if _, err := order.Verdict(); err != nil {
		r.findings = append(r.findings, err)
	}

	return nil
}

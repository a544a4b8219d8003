package chaos

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/atlas-relay/atlas-relay/e2e/harness"
	"github.com/atlas-relay/atlas-relay/e2e/verify/live"
	relayv1 "github.com/atlas-relay/atlas-relay/proto/relay/v1"
)

// await waits for the relay. An error says what did not come true.
func (r *run) await(ctx context.Context, what string, condition func(*relayv1.Stats) bool) error {
	wait, cancel := context.WithTimeout(ctx, r.options.Patience)
	defer cancel()

	_, err := r.Relay.Await(wait, what, condition)

	return err
}

// awaitProgress is await, but goes on for as long as something is applied in each such time: a busy machine is no finding.
func (r *run) awaitProgress(ctx context.Context, what string, condition func(*relayv1.Stats) bool) error {
	for processed := uint64(0); ; {
		before := processed

		err := r.await(ctx, what, func(s *relayv1.Stats) bool {
			processed = max(processed, s.GetProcessedChanges())

			return condition(s)
		})
		if err == nil || ctx.Err() != nil || processed == before {
			return err
		}
	}
}

// finish waits until everything is applied, or the flow has ended as its last fault has it, and judges.
func (r *run) finish(ctx context.Context) error {
	for _, proxy := range r.Links {
		proxy.Heal()
	}

	r.outcome.Changes = r.Load.Changes()

	ended, ok := r.end(ctx)
	if !ok {
		return ctx.Err()
	}

	if !ended {
		if err := r.compare(ctx); err != nil {
			return err
		}
	}

	compared := r.outcome.Wrong
	r.outcome.Wrong = nil

	findings, err := r.recording.judge(ctx, ended)
	for _, finding := range findings {
		r.wrong(finding.Kind, "%s", finding.Text)
	}

	// What the checker says comes first: it knows how it came to be.
	r.outcome.Wrong = append(r.outcome.Wrong, compared...)

	if errors.Is(err, errUnjudged) {
		r.outcome.Unjudged = err.Error()
		r.note("%v", err)

		return nil
	}

	if err != nil || ended || !r.recording.whole {
		return err
	}

	return measureRecoveries(r.folder, r.outcome.Strikes)
}

// end waits for the end; ok is false where it did not come, which is a finding.
func (r *run) end(ctx context.Context) (ended, ok bool) {
	last := Heals
	if n := len(r.plan.Steps); n > 0 {
		last = r.plan.Steps[n-1].Class.Ending
	}

	if last == Ends {
		if err := r.awaitLoud(ctx); err != nil {
			r.wrong("silent end", "the flow has to end and does not say so: %v", err)

			return true, false
		}

		return true, true
	}

	err := r.awaitApplied(ctx)
	if err == nil {
		return false, true
	}

	if last == MayEnd && ctx.Err() == nil && r.awaitLoud(ctx) == nil {
		return true, true
	}

	r.wrong("not applied", "%v", err)

	return false, false
}

// awaitApplied waits until the last document is on the target, and nothing is pending.
func (r *run) awaitApplied(ctx context.Context) error {
	coll, filter, err := r.Load.Last(ctx)
	if err != nil {
		return err
	}

	r.outcome.Changes = r.Load.Changes()

	if err := r.awaitProgress(ctx, "everything applied", harness.Applied(r.outcome.Changes)); err != nil {
		return err
	}

	wait, cancel := context.WithTimeout(ctx, r.options.Patience)
	defer cancel()

	err = harness.Await(wait, natsRetry, func(ctx context.Context) (bool, error) {
		ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
		defer cancel()

		n, err := r.Target().Collection(coll).CountDocuments(ctx, filter)

		return err == nil && n == 1, nil
	})
	if err != nil {
		return fmt.Errorf("the last document did not reach the target: %w", err)
	}

	return r.await(wait, "everything applied, and all at work", func(s *relayv1.Stats) bool {
		return harness.Applied(r.outcome.Changes)(s) && harness.Replicating(s)
	})
}

// loudPatience is how long a flow that has ended may take to say so.
const loudPatience = time.Minute

// awaitLoud waits until the flow says that it has ended, and what to do.
func (r *run) awaitLoud(ctx context.Context) error {
	wait, cancel := context.WithTimeout(ctx, max(loudPatience, r.options.Patience/2))
	defer cancel()

	text := ""

	err := harness.Await(wait, 200*time.Millisecond, func(ctx context.Context) (bool, error) {
		sample, err := r.Relay.Sample(ctx)
		if err != nil {
			return false, nil //nolint:nilerr // asked again
		}

		text = strings.Join(append(sample.GetReasons(), sample.GetNextStep()), "; ")
		remedy := strings.Contains(text, "relayctl") || strings.Contains(text, "restore")
		r.outcome.Ended = sample.GetStatus().String() + ": " + text

		return sample.GetStatus() == relayv1.Status_STATUS_DOWN && remedy, nil
	})
	if err != nil {
		return fmt.Errorf("%w; last it said: %s", err, text)
	}

	r.note("the flow has ended: %s", r.outcome.Ended)

	return nil
}

// compare compares source and target.
func (r *run) compare(ctx context.Context) error {
	result, err := live.Compare(ctx, r.Source(), r.Target())
	if err != nil {
		return err
	}

	if !result.Equal() {
		r.wrong("documents", "%d of %d documents differ: %s", result.Different, result.Documents, describe(result.Differences[0]))
	}

	if r.plan.Schema {
		differences, err := live.Definitions(ctx, r.Source(), r.Target())
		if err != nil {
			return err
		}

		if len(differences) > 0 {
			r.wrong("definitions", "%d definitions differ: %s", len(differences), strings.ReplaceAll(differences[0], "\n", " "))
		}
	}

	r.count(ctx)
	r.note("%d documents compared", result.Documents)

	return nil
}

// describe says what differs without the documents' padding.
func describe(d live.Difference) string {
	version := func(doc bson.Raw) string {
		if doc == nil {
			return "absent"
		}

		return fmt.Sprintf("v=%v, %d bytes", doc.Lookup("v"), len(doc))
	}

	return fmt.Sprintf("%s %s: source %s, target %s", d.Namespace, d.ID, version(d.Source), version(d.Target))
}

// count checks the counters. Where answers never came the source alone knows how many changes it has made, between two
// bounds.
func (r *run) count(ctx context.Context) {
	wait, cancel := context.WithTimeout(ctx, r.options.Patience)
	defer cancel()

	// A failpoint may end the statistics just now; they are started again.
	sample, err := r.Relay.Await(wait, "a last sample", func(*relayv1.Stats) bool { return true })
	if err != nil {
		r.wrong("no sample", "no last sample: %v", err)

		return
	}

	total, skipped := sample.GetTotalChanges(), sample.GetSkippedChanges()
	least, most := r.Load.Changes(), r.Load.Changes()+r.Load.Unknown()

	if r.plan.Schema { // some commands are several events, or none
		least, most = 0, ^uint64(0)
	}

	if n := total - skipped; n < least || n > most {
		r.wrong("total", "total %d less skipped %d is %d, but the source has made %d to %d changes", total, skipped, n, least, most)
	}

	if sum := sample.GetProcessedChanges() + sample.GetFailedChanges() + skipped + sample.GetPendingChanges(); sum != total {
		r.wrong("sum", "total %d is not the sum %d: %s", total, sum, harness.Line(sample))
	}

	if failed := sample.GetFailedChanges(); failed > 0 && !r.plan.fails() {
		r.wrong("failed", "%d changes failed, none was meant to", failed)
	}
}

// errWrong says that a run has findings.
var errWrong = errors.New("the relay broke a promise")

package deadletter

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/atlas-relay/atlas-relay/pkg/audit"
)

// namesShown is how many names of a selection the audit holds; each record has its own trail beside it.
const namesShown = 20

// Audit returns what was done to the flow, the latest first: before the action with this name, or from the latest on when
// it is empty. It returns TargetError.
func (l *Letters) Audit(ctx context.Context, before string, limit int) ([]audit.Action, error) {
	actions, err := audit.List(ctx, l.target, l.flow, before, limit)
	if err != nil {
		return nil, l.failed(err)
	}

	return actions, nil
}

// audited acts between the two records of the audit.
func (l *Letters) audited(ctx context.Context, r *Request, act func() (Outcome, error)) (Outcome, error) {
	action := &audit.Action{Flow: l.flow, Action: "dead-letters " + string(r.Verb), Who: r.Who, Why: r.Why, Selection: r.selection()}
	if err := audit.Begin(ctx, l.target, action); err != nil {
		return Outcome{}, l.failed(err)
	}

	outcome, err := act()

	end := audit.End{Changed: int64(outcome.Changed), Refused: int64(outcome.Refused)} //nolint:gosec // counts of documents
	if err != nil {
		end.Failed = err.Error()
	}

	// Where the end is not recorded the audit says just that, and what was done is done.
	_ = action.Finish(context.WithoutCancel(ctx), l.target, end)

	return outcome, err
}

// selection says in words what the request is for.
func (r *Request) selection() string {
	if r.Filter == nil {
		if len(r.Names) > namesShown {
			return fmt.Sprintf("%d by name, the first: %s", len(r.Names), strings.Join(r.Names[:namesShown], ", "))
		}

		return strings.Join(r.Names, ", ")
	}

	var parts []string

	if r.Filter.DB != "" {
		parts = append(parts, "namespace "+strings.TrimSuffix(r.Filter.DB+"."+r.Filter.Coll, "."))
	}

	if r.Filter.Code != nil {
		parts = append(parts, fmt.Sprintf("error code %d", *r.Filter.Code))
	}

	if !r.Filter.Since.IsZero() {
		parts = append(parts, "since "+r.Filter.Since.UTC().Format(time.RFC3339))
	}

	if !r.Filter.Until.IsZero() {
		parts = append(parts, "until "+r.Filter.Until.UTC().Format(time.RFC3339))
	}

	if parts == nil {
		return "all"
	}

	return "all with " + strings.Join(parts, ", ")
}

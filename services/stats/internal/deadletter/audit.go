package deadletter

import (
	"context"
	"fmt"
	"strings"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/atlas-relay/atlas-relay/pkg/audit"
	"github.com/atlas-relay/atlas-relay/pkg/failpoint"
	"github.com/atlas-relay/atlas-relay/pkg/parked"
)

// actionPrefix begins the names of this package's actions in the audit.
const actionPrefix = "dead-letters "

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
func (l *Letters) audited(ctx context.Context, t *task) (Outcome, error) {
	action := &audit.Action{Flow: l.flow, Action: actionPrefix + string(t.Verb), Who: t.Who, Why: t.Why, Selection: t.selection()}
	if err := audit.Begin(ctx, l.target, action); err != nil {
		return Outcome{}, l.failed(err)
	}

	if err := failpoint.Error(failpoint.AuditBegun); err != nil {
		return Outcome{}, l.failed(err)
	}

	// What has begun is done to its end: whoever asked may have left, and would not learn which half was done.
	detached := context.WithoutCancel(ctx)
	t.id, t.when, t.outcome.Operation = action.ID, action.Time, action.ID
	err := t.runWithin(detached, ActionTimeout)

	ctx, cancel := context.WithTimeout(detached, endTimeout)
	defer cancel()

	end := audit.End{Changed: int64(t.outcome.Changed), Refused: int64(t.outcome.Refused), Left: t.left()} //nolint:gosec // counts of documents
	if err != nil {
		end.Failed = err.Error()

		// The update that failed may have changed some. Where they cannot be counted, those before it are said.
		if n, counted := l.countChanged(ctx, action.ID); counted == nil {
			end.Changed = n
		}

		err = fmt.Errorf("%w; %d records were changed before that: the same request again does the rest", err, end.Changed)
	}

	// Where the end is not recorded the audit says just that, and what was done is done.
	_ = action.Finish(ctx, l.target, end)

	return t.outcome, err
}

func (t *task) runWithin(ctx context.Context, timeout time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()

	return t.run(ctx)
}

func (l *Letters) countChanged(ctx context.Context, operation string) (int64, error) {
	return parked.Records(l.target).CountDocuments(ctx, bson.D{{Key: "act", Value: operation}})
}

// left are the first refusals, for the audit.
func (t *task) left() []audit.Left {
	var left []audit.Left

	for _, r := range t.outcome.Refusals[:min(len(t.outcome.Refusals), mostListed)] {
		left = append(left, audit.Left{Name: r.Name, Reason: int(r.Reason), Why: r.Message})
	}

	return left
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

	if r.Filter.Operation != "" {
		parts = append(parts, "last changed by "+r.Filter.Operation)
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

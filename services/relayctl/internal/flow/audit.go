package flow

import (
	"context"

	"go.mongodb.org/mongo-driver/v2/mongo"

	"github.com/atlas-relay/atlas-relay/pkg/audit"
	"github.com/atlas-relay/atlas-relay/pkg/gap"
	"github.com/atlas-relay/atlas-relay/pkg/settings"
)

// Operator is who runs a command that changes a flow, for the record.
type Operator struct {
	Name   string // user@host, or what he calls himself
	Reason string // in his words; may be empty
}

// signed is the operator as records of gaps and divergences hold him.
func (o Operator) signed() gap.Acceptance {
	return gap.Acceptance{By: o.Name, Reason: o.Reason, At: now()}
}

// audited acts between two records in the audit of the target: an action that cannot be recorded does not begin. It
// returns what act returns. act counts what it changed, also when it fails.
func audited(ctx context.Context, target *mongo.Client, uri settings.URI, action *audit.Action, by Operator, act func() (changed int, err error)) error {
	action.Who, action.Why = by.Name, by.Reason

	if err := audit.Begin(ctx, target, action); err != nil {
		return mongoTrouble("TARGET_URI", uri, err)
	}

	changed, err := act()
	action.Close(ctx, target, changed, err)

	return err
}

// Package pausing pauses flows and lets them go on, as a person asks. The owners of the partitions see it in the target.
package pausing

import (
	"context"
	"errors"
	"strings"
	"time"

	"go.mongodb.org/mongo-driver/v2/mongo"

	"github.com/atlas-relay/atlas-relay/pkg/audit"
	"github.com/atlas-relay/atlas-relay/pkg/event"
	"github.com/atlas-relay/atlas-relay/pkg/failpoint"
	"github.com/atlas-relay/atlas-relay/pkg/pause"
	"github.com/atlas-relay/atlas-relay/services/stats/internal/trouble"
)

// Switch pauses one flow. Safe for concurrent use. Its errors are *pause.DamagedError where the target does not say what
// is paused, else *trouble.TargetError.
type Switch struct {
	flow   string
	target *mongo.Client
}

// New returns the switch of a flow.
func New(flow string, target *mongo.Client) *Switch { return &Switch{flow: flow, target: target} }

// Flow returns the name of the flow.
func (s *Switch) Flow() string { return s.flow }

// Get tells whether the flow is paused.
func (s *Switch) Get(ctx context.Context) (pause.Document, error) {
	d, err := pause.Load(ctx, s.target, s.flow)

	return d, s.failed(err)
}

// Request is what a person wants: of these namespaces, or of the flow as a whole where there are none.
type Request struct {
	Namespaces []event.Namespace
	Who, Why   string
}

// Pause pauses what the request names and returns what holds then. What is paused already stays so as it is: changed is
// false where that is all of it. It returns pause.ErrTooMany, too.
func (s *Switch) Pause(ctx context.Context, r *Request) (d pause.Document, changed bool, err error) {
	return s.audited(ctx, "flow pause", r, func() (int, error) {
		since := pause.Pause{By: r.Who, Reason: r.Why, Since: time.Now()}
		if len(r.Namespaces) > 0 {
			return pause.BeginNamespaces(ctx, s.target, s.flow, r.Namespaces, since)
		}

		return one(pause.Begin(ctx, s.target, s.flow, since))
	})
}

// Resume lets go on what the request names and returns what holds then. What is not paused is left as it is: changed is
// false where that is all of it.
func (s *Switch) Resume(ctx context.Context, r *Request) (d pause.Document, changed bool, err error) {
	return s.audited(ctx, "flow resume", r, func() (int, error) {
		if len(r.Namespaces) > 0 {
			return pause.EndNamespaces(ctx, s.target, s.flow, r.Namespaces)
		}

		return one(pause.End(ctx, s.target, s.flow))
	})
}

func one(changed bool, err error) (int, error) {
	if changed {
		return 1, err
	}

	return 0, err
}

// audited acts between the two records of the audit.
func (s *Switch) audited(ctx context.Context, name string, r *Request, act func() (changed int, err error)) (d pause.Document, changed bool, err error) {
	action := &audit.Action{Flow: s.flow, Action: name, Who: r.Who, Why: r.Why, Selection: r.selection()}
	if err := audit.Begin(ctx, s.target, action); err != nil {
		return pause.Document{}, false, s.failed(err)
	}

	n, err := act()
	if err == nil {
		err = failpoint.Error(failpoint.PauseWritten)
	}

	action.Close(ctx, s.target, n, err)

	if err != nil {
		return pause.Document{}, false, s.explained(ctx, err)
	}

	d, err = s.Get(ctx)

	return d, n > 0, err
}

// selection says in words what the request is for.
func (r *Request) selection() string {
	if len(r.Namespaces) == 0 {
		return "the flow"
	}

	names := make([]string, len(r.Namespaces))
	for i, ns := range r.Namespaces {
		names[i] = (&pause.Namespace{DB: ns.DB, Coll: ns.Coll}).Name()
	}

	return strings.Join(names, ", ")
}

// explained tells a document that cannot be changed because of what is in it from a target that cannot be asked.
func (s *Switch) explained(ctx context.Context, err error) error {
	if _, readErr := s.Get(ctx); errors.As(readErr, new(*pause.DamagedError)) {
		return readErr
	}

	return s.failed(err)
}

func (s *Switch) failed(err error) error {
	if err == nil || errors.Is(err, pause.ErrTooMany) || errors.As(err, new(*pause.DamagedError)) {
		return err
	}

	return &trouble.TargetError{Flow: s.flow, Err: err}
}

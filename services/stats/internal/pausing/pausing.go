// Package pausing pauses flows and lets them go on, as a person asks. The owners of the partitions see it in the target.
package pausing

import (
	"context"
	"time"

	"go.mongodb.org/mongo-driver/v2/mongo"

	"github.com/atlas-relay/atlas-relay/pkg/audit"
	"github.com/atlas-relay/atlas-relay/pkg/pause"
	"github.com/atlas-relay/atlas-relay/services/stats/internal/deadletter"
)

// Switch pauses one flow. Safe for concurrent use. All its errors are *deadletter.TargetError.
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

// Pause pauses the flow, for who and why. One that is paused already stays so as it is: changed is false.
func (s *Switch) Pause(ctx context.Context, who, why string) (d pause.Document, changed bool, err error) {
	err = s.audited(ctx, "flow pause", who, why, func() (bool, error) {
		d, changed, err = pause.Begin(ctx, s.target, s.flow, pause.Pause{By: who, Reason: why, Since: time.Now()})

		return changed, err
	})

	return d, changed, err
}

// Resume lets the flow go on. One that is not paused is left as it is: changed is false.
func (s *Switch) Resume(ctx context.Context, who, why string) (changed bool, err error) {
	err = s.audited(ctx, "flow resume", who, why, func() (bool, error) {
		changed, err = pause.End(ctx, s.target, s.flow)

		return changed, err
	})

	return changed, err
}

// audited acts between the two records of the audit.
func (s *Switch) audited(ctx context.Context, name, who, why string, act func() (changed bool, err error)) error {
	action := &audit.Action{Flow: s.flow, Action: name, Who: who, Why: why, Selection: "the flow"}
	if err := audit.Begin(ctx, s.target, action); err != nil {
		return s.failed(err)
	}

	changed, err := act()

	var end audit.End

	if changed {
		end.Changed = 1
	}

	if err != nil {
		end.Failed = err.Error()
	}

	// Where the end is not recorded the audit says just that, and what was done is done.
	_ = action.Finish(context.WithoutCancel(ctx), s.target, end)

	return s.failed(err)
}

func (s *Switch) failed(err error) error {
	if err == nil {
		return nil
	}

	return &deadletter.TargetError{Flow: s.flow, Err: err}
}

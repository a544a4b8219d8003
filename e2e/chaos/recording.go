package chaos

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/atlas-relay/atlas-relay/e2e/harness"
	"github.com/atlas-relay/atlas-relay/e2e/history"
	"github.com/atlas-relay/atlas-relay/e2e/verify/live"
)

// recording keeps the record of a run (package history) and watches the order of writes on the target.
type recording struct {
	stage  *Stage
	writes *history.Writer[history.Write]
	faults *history.Writer[history.Fault]

	order    *live.Order
	watched  chan error
	events   int // of the target
	findings []error
}

func newRecording(folder string) (r *recording, err error) {
	r = &recording{}

	if r.writes, err = history.Create[history.Write](folder, history.WritesFile); err != nil {
		return nil, err
	}

	r.faults, err = history.Create[history.Fault](folder, history.FaultsFile)

	return r, err
}

// beginTarget watches the target from now on. It may have come back just now.
func (r *recording) beginTarget(ctx context.Context) error {
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

	events, err := order.Verdict()
	r.events += events

	if err != nil {
		r.findings = append(r.findings, err)
	}

	return nil
}

func (r *recording) close() error { return errors.Join(r.writes.Close(), r.faults.Close()) }

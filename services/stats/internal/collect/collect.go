// Package collect reads what is known of a flow: the instances' reports, the
// figures of JetStream, the checkpoints and what is parked in the target.
//
// A sample reads the checkpoints first, and then the stream as it is at one
// sequence. Whatever moves meanwhile, that is consistent: a checkpoint agrees with
// itself, none is ahead of what is read after it, and the stream's total and the
// counts of its partitions are of the same message. Where they are not, after a
// marker or a rewind in between, it is tried again; after three tries that is
// given up and the sample says so. Whatever cannot be asked is named in the
// sample; the rest is answered all the same.
package collect

import (
	"context"
	"errors"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"golang.org/x/sync/errgroup"

	"github.com/atlas-relay/atlas-relay/pkg/checkpoint"
	"github.com/atlas-relay/atlas-relay/pkg/failpoint"
	"github.com/atlas-relay/atlas-relay/pkg/gap"
	"github.com/atlas-relay/atlas-relay/pkg/pause"
	"github.com/atlas-relay/atlas-relay/services/stats/internal/deadletter"
	"github.com/atlas-relay/atlas-relay/services/stats/internal/tally"
)

const (
	// tries to read the stream without a marker in between.
	tries = 3
	// askTimeout bounds what one server gets for one sample.
	askTimeout = 2 * time.Second
	// fresh is how long callers share a sample.
	fresh = 200 * time.Millisecond
)

// Flow samples one flow. Safe for concurrent use.
type Flow struct {
	name   string
	js     jetstream.StreamManager
	target *mongo.Client
	parked *deadletter.Letters
	book   *Book

	turn   chan struct{} // holds one token: who has it samples, the others wait
	last   tally.Stats   // guarded by turn
	at     time.Time     // when last was taken
	ends   *ends         // as last read; guarded by turn
	memory tally.Memory  // guarded by turn
}

// NewFlow returns the sampler of a flow.
func NewFlow(name string, js jetstream.StreamManager, target *mongo.Client, letters *deadletter.Letters, book *Book) *Flow {
	f := &Flow{name: name, js: js, target: target, parked: letters, book: book, turn: make(chan struct{}, 1)}
	f.turn <- struct{}{}

	return f
}

// Name returns the name of the flow.
func (f *Flow) Name() string { return f.name }

// Sample returns a sample that is at most 200 ms old: callers share it. It must
// not be changed. The error is that of ctx.
func (f *Flow) Sample(ctx context.Context) (tally.Stats, error) {
	select {
	case <-f.turn:
	case <-ctx.Done():
		return tally.Stats{}, ctx.Err()
	}

	defer func() { f.turn <- struct{}{} }()

	if !f.at.IsZero() && time.Since(f.at) < fresh {
		return f.last, nil
	}

	in := f.read(ctx)
	if err := ctx.Err(); err != nil {
		return tally.Stats{}, err // what failed did so because the caller left
	}

	f.last, f.at = tally.Count(in), time.Now()
	f.memory.Date(&f.last)

	failpoint.Pass(failpoint.StatsSampled)

	return f.last, nil
}

// read asks everybody, several times if things move.
func (f *Flow) read(ctx context.Context) *tally.Input {
	var in *tally.Input

	for range tries {
		in = f.readOnce(ctx)
		if in.Still || in.Stream == nil || in.Checkpoints == nil {
			break
		}
	}

	return in
}

func (f *Flow) readOnce(ctx context.Context) *tally.Input {
	in := &tally.Input{Flow: f.name}

	before := f.readTarget(ctx, in)
	in.Still = f.readStream(ctx, in, before)
	in.Now = time.Now()

	if in.Stream == nil && in.Problem == nil {
		// The bucket lives beside the stream: what was heard before NATS went
		// away is no news.
		return in
	}

	reports, err := f.book.Reports(f.name, in.Now)
	if err != nil {
		in.Unknown = append(in.Unknown, "reports of the instances: "+err.Error())
	}

	in.Reports = reports

	return in
}

// readTarget reads checkpoints, unsupported events, gaps, a pause and what is
// parked side by side.
func (f *Flow) readTarget(ctx context.Context, in *tally.Input) map[int]checkpoint.Document {
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()

	// Not in the group: the numbers do not depend on it.
	parkedRead := make(chan error, 1)
	go func() { parkedRead <- f.readParked(ctx, in) }()

	group, groupCtx := errgroup.WithContext(ctx)

	var (
		checkpoints map[int]checkpoint.Document
		unsupported []checkpoint.UnsupportedDocument
		gaps        []gap.Document
		flow        pause.Document
		damaged     *pause.DamagedError
	)

	group.Go(func() (err error) {
		checkpoints, err = checkpoint.Load(groupCtx, f.target, f.name)

		return err
	})
	group.Go(func() (err error) {
		unsupported, err = checkpoint.LoadUnsupported(groupCtx, f.target, f.name)

		return err
	})

	group.Go(func() (err error) {
		gaps, err = gap.Load(groupCtx, f.target, f.name)

		return err
	})

	group.Go(func() (err error) {
		if flow, err = pause.Load(groupCtx, f.target, f.name); errors.As(err, &damaged) {
			return nil // the numbers do not depend on it
		}

		return err
	})

	err, parkedErr := group.Wait(), <-parkedRead
	if err == nil {
		err = failpoint.Error(failpoint.StatsCheckpoints)
	}

	switch {
	case err != nil:
		in.Unknown = append(in.Unknown, "target: "+err.Error())

		return nil
	case parkedErr != nil:
		in.Unknown = append(in.Unknown, "dead letters: "+parkedErr.Error())
	}

	in.Checkpoints, in.Unsupported, in.Gaps, in.Paused, in.PauseDamaged = checkpoints, unsupported, gaps, flow, damaged

	return checkpoints
}

// Package record writes the record of a run (e2e/history) from live servers.
//
// It follows the change streams of both sides and the flow's stream while the run goes on, whatever is restarted
// meanwhile, and dumps what is there at the end. What only the run itself knows, it writes beside: writes, faults, usage.
// All of it is asked from the servers directly, never through a link that the run breaks.
package record

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"golang.org/x/sync/errgroup"
	"google.golang.org/protobuf/encoding/protojson"

	"github.com/atlas-relay/atlas-relay/e2e/history"
	"github.com/atlas-relay/atlas-relay/pkg/retry"
	relayv1 "github.com/atlas-relay/atlas-relay/proto/relay/v1"
)

// Options says what to record.
type Options struct {
	Folder string       // made if it is not there; the files must not be
	Meta   history.Meta // Partitions, Publish and the times are filled in

	Source, Target *mongo.Client
	JetStream      jetstream.JetStream
	// Sample asks the statistics; nil: nobody does. SampleEvery is how often; 0 is once in half a second.
	Sample      func(ctx context.Context) (*relayv1.Stats, error)
	SampleEvery time.Duration
}

// Recorder is a recording that goes on.
type Recorder struct {
	o Options

	source   *side
	target   *side         // nil while it is being restored
	followed chan struct{} // closed once that one is recorded to its end
	stretch  int           // of the target's histories, from 1
	messages *messages
	samples  *history.Writer[history.Sample]
	writes   *history.Writer[history.Write]
	faults   *history.Writer[history.Fault]
	usage    *history.Writer[history.Usage]

	follow    func()          // the target
	following *errgroup.Group // source and target
	reading   *errgroup.Group // the stream
	sampling  errgroup.Group
	cancel    context.CancelFunc
	stop      chan struct{} // closed by Finish: what samples there are now is all
	ended     chan struct{} // closed by Finish, once source and target are recorded: what messages there are now is all

	mu   sync.Mutex
	meta history.Meta
	err  error // of a file
}

// Start begins a recording, before flow init. Finish ends it; ctx ends it too, without a record that is whole.
func Start(ctx context.Context, o Options) (*Recorder, error) {
	if err := os.MkdirAll(filepath.Join(o.Folder, history.LogsDir), 0o700); err != nil {
		return nil, fmt.Errorf("make the folder of the record: %w", err)
	}

	r := &Recorder{o: o, meta: o.Meta, stop: make(chan struct{}), ended: make(chan struct{})}
	r.meta.Started = time.Now()

	if err := r.open(ctx); err != nil {
		return nil, err
	}

	ctx, r.cancel = context.WithCancel(ctx)

	reading, ofReading := errgroup.WithContext(ctx)
	following, ofFollowing := errgroup.WithContext(ofReading) // which ends first
	r.reading, r.following = reading, following

	reading.Go(func() error { return r.messages.run(ofReading, r.ended) })
	following.Go(func() error { return r.source.run(ofFollowing) })
	r.follow = func() { r.followTarget(ofFollowing) }
	r.follow()
	r.sampling.Go(func() error { return r.sample(ofFollowing) })

	return r, nil
}

func (r *Recorder) open(ctx context.Context) (err error) {
	folder := r.o.Folder

	if r.source, err = newSide(ctx, r.o.Source, folder, history.SourceFile); err != nil {
		return fmt.Errorf("record the source: %w", err)
	}

	if err := r.openTarget(ctx); err != nil {
		return err
	}

	r.messages = &messages{js: r.o.JetStream, stream: "CDC_" + r.meta.Flow, held: map[uint64]held{}, info: r.streamFound}

	var errs [5]error

	r.messages.file, errs[0] = history.Create[history.Message](folder, history.StreamFile)
	r.samples, errs[1] = history.Create[history.Sample](folder, history.SamplesFile)
	r.writes, errs[2] = history.Create[history.Write](folder, history.WritesFile)
	r.faults, errs[3] = history.Create[history.Fault](folder, history.FaultsFile)
	r.usage, errs[4] = history.Create[history.Usage](folder, history.UsageFile)

	return errors.Join(errs[:]...)
}

func (r *Recorder) openTarget(ctx context.Context) (err error) {
	r.stretch++

	if r.target, err = newSide(ctx, r.o.Target, r.o.Folder, history.TargetFileOf(r.stretch)); err != nil {
		return fmt.Errorf("record the target: %w", err)
	}

	return nil
}

func (r *Recorder) followTarget(ctx context.Context) {
	target, followed := r.target, make(chan struct{})
	r.followed = followed

	r.following.Go(func() error {
		defer close(followed)

		return target.run(ctx)
	})
}

// LeaveTarget ends the record of the target before it is restored from a backup: what it is afterwards has another
// history, which ReturnToTarget begins to record. Nobody else calls the recorder meanwhile.
func (r *Recorder) LeaveTarget(ctx context.Context) error {
	if err := r.target.finish(ctx); err != nil {
		return err
	}

	select {
	case <-r.followed:
	case <-ctx.Done():
		return fmt.Errorf("end the record of the target: %w", context.Cause(ctx))
	}

	err := r.target.file.Close()
	r.target = nil

	r.mu.Lock()
	defer r.mu.Unlock()

	r.meta.TargetBack = true

	return err
}

// ReturnToTarget goes on behind LeaveTarget.
func (r *Recorder) ReturnToTarget(ctx context.Context) error {
	if err := r.openTarget(ctx); err != nil {
		return err
	}

	r.follow()

	return nil
}

// streamFound takes what the stream's metadata says of the run.
func (r *Recorder) streamFound(info *jetstream.StreamInfo) {
	r.mu.Lock()
	defer r.mu.Unlock()

	r.meta.Partitions, _ = strconv.Atoi(info.Config.Metadata["relay.partitions"]) // 0 is refused by the checker
	r.meta.Publish = info.Config.Metadata["relay.publish"]
}

// sample asks the statistics until the end.
func (r *Recorder) sample(ctx context.Context) error {
	if r.o.Sample == nil {
		return nil
	}

	every := r.o.SampleEvery
	if every == 0 {
		every = 500 * time.Millisecond
	}

	for ctx.Err() == nil {
		if err := r.takeSample(ctx); err != nil {
			return err
		}

		select {
		case <-r.stop:
			return nil
		default:
			retry.Pause(ctx, every)
		}
	}

	return nil
}

func (r *Recorder) takeSample(ctx context.Context) error {
	answer, err := r.o.Sample(ctx)

	s := history.Sample{Time: time.Now()}
	if err != nil {
		s.Error = err.Error()

		return r.samples.Add(s)
	}

	if s.Stats, err = protojson.Marshal(answer); err != nil {
		return fmt.Errorf("record a sample: %w", err)
	}

	return r.samples.Add(s)
}

// Recorded is the sequence of the last message of the stream that is recorded; more is false once that is all, as where the
// stream was purged too early.
func (r *Recorder) Recorded() (last uint64, more bool) {
	return r.messages.at.Load(), !r.messages.off.Load()
}

// Write records what a client knows. Its error is that of Finish too.
func (r *Recorder) Write(w history.Write) { r.note(r.writes.Add(w)) }

// Fault records something that was broken and is whole again.
func (r *Recorder) Fault(f history.Fault) { r.note(r.faults.Add(f)) }

// Usage records what a process has in use.
func (r *Recorder) Usage(u history.Usage) { r.note(r.usage.Add(u)) }

// note keeps an error of a file until Finish.
func (r *Recorder) note(err error) {
	r.mu.Lock()
	defer r.mu.Unlock()

	r.err = cmp.Or(r.err, err)
}

func (r *Recorder) fileError() error {
	r.mu.Lock()
	defer r.mu.Unlock()

	return r.err
}

// KeepLog copies the log of a service into the record.
func (r *Recorder) KeepLog(file string) error {
	text, err := os.ReadFile(file)
	if err != nil {
		return fmt.Errorf("keep a log: %w", err)
	}

	if err := os.WriteFile(filepath.Join(r.o.Folder, history.LogsDir, filepath.Base(file)), text, 0o600); err != nil {
		return fmt.Errorf("keep a log: %w", err)
	}

	return nil
}

// Finish ends the recording: everything has been written that will be, and nothing is pending. The servers run; nobody
// writes to them until it returns. It may be called once.
func (r *Recorder) Finish(ctx context.Context) error {
	defer r.cancel()

	r.mu.Lock()
	r.meta.Ended = time.Now()
	r.mu.Unlock()

	close(r.stop)

	// What ends the recording of the source is an event too: no sample shall count it.
	if err := r.sampling.Wait(); err != nil {
		return errors.Join(err, r.end())
	}

	for _, s := range r.sides() {
		if err := s.finish(ctx); err != nil {
			return errors.Join(err, r.end())
		}
	}

	followed := r.following.Wait()

	// The stream comes last: an idle flow goes on with its markers, and what a commit of the target names must be there.
	close(r.ended)

	if err := errors.Join(followed, r.reading.Wait(), r.fileError(), r.close()); err != nil {
		return err
	}

	if err := r.dump(ctx); err != nil {
		return err
	}

	return history.WriteMeta(r.o.Folder, r.meta)
}

// Abandon ends a recording that is of no use any more. It may be called while Finish waits, which then fails.
func (r *Recorder) Abandon() { _ = r.end() }

// end lets go of everything, however far it has come.
func (r *Recorder) end() error {
	r.cancel()

	return errors.Join(r.following.Wait(), r.reading.Wait(), r.sampling.Wait(), r.close())
}

// sides are those that are recorded now.
func (r *Recorder) sides() []*side {
	if r.target == nil {
		return []*side{r.source}
	}

	return []*side{r.source, r.target}
}

func (r *Recorder) close() error {
	errs := []error{r.messages.file.Close(), r.samples.Close(), r.writes.Close(), r.faults.Close(), r.usage.Close()}
	for _, s := range r.sides() {
		errs = append(errs, s.file.Close())
	}

	return errors.Join(errs...)
}

func (r *Recorder) dump(ctx context.Context) error {
	folder, meta := r.o.Folder, &r.meta

	return errors.Join(
		documents(ctx, r.o.Source, meta, folder, history.SourceDocuments),
		documents(ctx, r.o.Target, meta, folder, history.TargetDocuments),
		definitions(ctx, r.o.Source, meta, folder, history.SourceDefinitions),
		definitions(ctx, r.o.Target, meta, folder, history.TargetDefinitions),
		relayDocuments(ctx, r.o.Target, "parked", folder, history.ParkedFile),
		relayDocuments(ctx, r.o.Target, "gaps", folder, history.GapsFile),
	)
}

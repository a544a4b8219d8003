package history

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"go.mongodb.org/mongo-driver/v2/mongo"

	"github.com/atlas-relay/atlas-relay/pkg/mongodb"
	"github.com/atlas-relay/atlas-relay/pkg/telemetry"
	"github.com/atlas-relay/atlas-relay/pkg/topology"
)

const (
	defaultPoll = 10 * time.Second
	lookTimeout = 5 * time.Second
)

// Options of a Watcher.
type Options struct {
	Flow   string
	Limits Limits
	Poll   time.Duration // default 10 s
}

// Watcher keeps an Estimate up to date. Make it with New, run it once.
type Watcher struct {
	options Options
	source  *mongo.Client
	js      jetstream.StreamManager
	log     *slog.Logger

	window Window // used by Run's goroutine only

	mu       sync.Mutex
	estimate Estimate
}

// New returns a watcher.
func New(source *mongo.Client, js jetstream.StreamManager, log *slog.Logger, options Options) *Watcher {
	if options.Poll == 0 {
		options.Poll = defaultPoll
	}

	w := &Watcher{options: options, source: source, js: js, log: log, window: Window{Limits: options.Limits}}
	w.estimate = w.window.Estimate()

	return w
}

// Estimate returns what is known. Safe for concurrent use.
func (w *Watcher) Estimate() Estimate {
	w.mu.Lock()
	defer w.mu.Unlock()

	return w.estimate
}

// Run looks until ctx ends. It returns nil: whatever cannot be asked is named in
// the Estimate.
func (w *Watcher) Run(ctx context.Context) error {
	ticker := time.NewTicker(w.options.Poll)
	defer ticker.Stop()

	for {
		w.turn(ctx)

		select {
		case <-ticker.C:
		case <-ctx.Done():
			return nil
		}
	}
}

func (w *Watcher) turn(ctx context.Context) {
	sample, err := w.look(ctx)
	if ctx.Err() != nil {
		return
	}

	e := Estimate{Trend: NoTrend, Level: NoLevel}

	if err != nil {
		e.Unknown = err.Error()
	} else {
		w.window.Add(sample)
		e = w.window.Estimate()
	}

	w.mu.Lock()
	before := w.estimate
	w.estimate = e
	w.mu.Unlock()

	w.tell(ctx, &before, &e)
}

// tell says in the log what became different.
func (w *Watcher) tell(ctx context.Context, before, now *Estimate) {
	switch {
	case now.Unknown != "" && now.Unknown != before.Unknown:
		w.log.InfoContext(ctx, "the source's history is not known", slog.String(telemetry.KeyReason, now.Unknown))
	case now.Level == before.Level:
	case now.Level == Warn || now.Level == Critical:
		w.log.WarnContext(ctx, "the source forgets: what the stream does not have is kept for a short time only",
			slog.Duration("remaining", now.Remaining), slog.String("trend", string(now.Trend)),
			slog.String(telemetry.KeyRemedy, "give the source a longer oplog"))
	case before.Level == Warn || before.Level == Critical:
		w.log.InfoContext(ctx, "the source's history is long enough", slog.Duration("remaining", now.Remaining))
	}
}

// look takes a sample. The tail comes first, so that the window is rather too
// short.
func (w *Watcher) look(ctx context.Context) (Sample, error) {
	ctx, cancel := context.WithTimeout(ctx, lookTimeout)
	defer cancel()

	stream, err := topology.Open(ctx, w.js, w.options.Flow)
	if err != nil {
		return Sample{}, fmt.Errorf("the stream cannot be read: %w", err)
	}

	tail, err := stream.Tail(ctx)
	if err != nil {
		return Sample{}, fmt.Errorf("the stream cannot be read: %w", err)
	}

	at, ok := timeOf(&tail)
	if !ok {
		return Sample{}, errors.New("the stream holds no change of the source yet")
	}

	oldest, err := w.oldest(ctx)
	if err != nil {
		return Sample{}, err
	}

	return Sample{At: time.Now(), Oldest: oldest, Tail: at}, nil
}

// timeOf returns the cluster time up to which the stream has everything. The
// position is that of the last event; the resume token of a source that idles
// goes on.
func timeOf(tail *topology.Stored) (at time.Time, ok bool) {
	at, ok = tail.Position.Time(), !tail.Position.IsZero()

	if token, known := mongodb.TokenTime(tail.ResumeToken); known && !mongodb.TimeOf(token).Before(at) {
		return mongodb.TimeOf(token), true
	}

	return at, ok
}

// oldest returns the time of the oplog's first entry.
func (w *Watcher) oldest(ctx context.Context) (time.Time, error) {
	first, err := mongodb.OldestOperation(ctx, w.source)

	switch {
	case err == nil && first.T > 0:
		return mongodb.TimeOf(first), nil
	case err == nil:
		return time.Time{}, errors.New("the oplog's first entry has no time")
	case mongodb.IsUnauthorized(err):
		return time.Time{}, errors.New("the source's user may not read local.oplog.rs: grant it the role read on the database local")
	case w.isMongos(ctx):
		return time.Time{}, errors.New("the source is a sharded cluster, whose shards' oplogs cannot be read through mongos")
	case errors.Is(err, mongo.ErrNoDocuments):
		return time.Time{}, errors.New("the source shows no oplog")
	default:
		return time.Time{}, fmt.Errorf("the source's oplog cannot be read: %w", err)
	}
}

func (w *Watcher) isMongos(ctx context.Context) bool {
	hello, err := mongodb.SayHello(ctx, w.source)

	return err == nil && hello.Topology == mongodb.Sharded
}

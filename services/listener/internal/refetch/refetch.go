package refetch

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"

	"github.com/atlas-relay/atlas-relay/pkg/event"
	"github.com/atlas-relay/atlas-relay/pkg/failpoint"
	"github.com/atlas-relay/atlas-relay/pkg/refetch"
	"github.com/atlas-relay/atlas-relay/pkg/telemetry"
)

// Bounds. A document is held once while it is read and published, so memory is at most concurrent × 16 MiB.
const (
	concurrent  = 4
	waiting     = 16              // requests read and not yet taken by a worker; more are told "busy"
	received    = 256             // requests not yet read; more are dropped by nats.go, and not answered
	readTimeout = 5 * time.Second // of each of the two reads
	sendTimeout = 5 * time.Second // of each part
	defaultPoll = 100 * time.Millisecond
)

// inboxPrefix is what a reply subject must begin with. This listener may publish to the flow's stream: a request that
// names one of its subjects would have it written to by our right.
const inboxPrefix = "_INBOX"

// unsubscribeTimeout bounds telling the server that this listener is no longer the active one.
const unsubscribeTimeout = 500 * time.Millisecond

// Options of a Responder.
type Options struct {
	Flow   string
	Filter event.Filter  // the flow's choice of namespaces; others are refused
	Active func() bool   // whether this listener is the active one; asked every Poll and at every request
	Poll   time.Duration // default 100 ms
}

// Responder answers the flow's refetch requests. Make it with New, run it once.
type Responder struct {
	options Options
	source  *mongo.Client
	nc      *nats.Conn
	log     *slog.Logger

	counts [len(results)]atomic.Uint64 // by index in results
}

// Result is what became of a request.
type Result string

// The results.
const (
	Present   Result = "present"
	Absent    Result = "absent"
	Refused   Result = "refused"   // it can never be answered
	Failed    Result = "failed"    // the source could not be read
	Busy      Result = "busy"      // too many at a time
	Abandoned Result = "abandoned" // nobody waits any more, or the answer could not be sent
)

var results = [...]Result{Present, Absent, Refused, Failed, Busy, Abandoned} //nolint:gochecknoglobals // a constant list

// New returns a responder. nc is a connection of its own: documents of 16 MiB on the publisher's connection would hold
// up the acknowledgements that the capture waits for.
func New(source *mongo.Client, nc *nats.Conn, log *slog.Logger, options Options) *Responder {
	if options.Poll == 0 {
		options.Poll = defaultPoll
	}

	return &Responder{options: options, source: source, nc: nc, log: log}
}

// Counts returns how many requests came to each result. Safe for concurrent use.
func (r *Responder) Counts() map[Result]uint64 {
	counts := make(map[Result]uint64, len(results))
	for i, result := range results {
		counts[result] = r.counts[i].Load()
	}

	return counts
}

func (r *Responder) count(result Result) {
	for i := range results {
		if results[i] == result {
			r.counts[i].Add(1)
		}
	}
}

// job is a request on its way to a worker.
type job struct {
	reply   string
	request refetch.Request
	id      bson.RawValue
	came    time.Time
}

// Work answers until stop ends; what is being read then may finish within work.
func (r *Responder) Work(stop, work context.Context) error {
	jobs := make(chan job, waiting)

	var workers sync.WaitGroup
	for range concurrent {
		workers.Go(func() {
			for j := range jobs {
				r.answer(stop, work, &j)
			}
		})
	}

	err := r.intake(stop, jobs)

	close(jobs)
	workers.Wait()

	return err
}

// intake subscribes while this listener is active and hands requests to the workers. It is no member of a queue: one that
// is frozen or cut off stays in it for minutes, as the server sees it, and would take its share of the requests with it.
// Where two are active for a moment both answer, and the asker takes one answer.
func (r *Responder) intake(stop context.Context, jobs chan<- job) error {
	requests := make(chan *nats.Msg, received)

	var sub *nats.Subscription
	defer func() { r.unsubscribe(sub) }()

	ticker := time.NewTicker(r.options.Poll)
	defer ticker.Stop()

	for {
		switch active := r.options.Active(); {
		case active && sub == nil:
			var err error
			if sub, err = r.nc.ChanSubscribe(refetch.Subject(r.options.Flow), requests); err != nil {
				return fmt.Errorf("subscribe to refetch requests: %w", err)
			}

			r.log.DebugContext(stop, "answering refetch requests")
		case !active && sub != nil:
			r.unsubscribe(sub)
			sub = nil

			r.log.DebugContext(stop, "no longer answering refetch requests")
		}

		select {
		case m := <-requests:
			r.take(stop, m, jobs)
		case <-ticker.C:
		case <-stop.Done():
			return nil
		}
	}
}

// unsubscribe returns when the server knows, or cannot be told: who asks then learns at once that nobody answers.
func (r *Responder) unsubscribe(sub *nats.Subscription) {
	if sub != nil {
		_ = sub.Unsubscribe() // fails only on a closed connection
		_ = r.nc.FlushTimeout(unsubscribeTimeout)
	}
}

// take reads a request and puts it into the queue, or answers at once.
func (r *Responder) take(ctx context.Context, m *nats.Msg, jobs chan<- job) {
	if !strings.HasPrefix(m.Reply, inboxPrefix) {
		r.count(Refused)
		r.log.WarnContext(ctx, "refetch request with a reply subject that is no inbox", slog.String(telemetry.KeyReason, m.Reply))

		return
	}

	j := job{reply: m.Reply, came: time.Now()}

	if err := r.parse(m.Data, &j); err != nil {
		r.fail(ctx, &j, Refused, err)

		return
	}

	select {
	case jobs <- j:
	default:
		r.fail(ctx, &j, Busy, &refetch.ReadError{Reason: "too many requests at a time", Transient: true})
	}
}

// parse reads what is asked for, and refuses what this flow does not copy.
func (r *Responder) parse(payload []byte, j *job) *refetch.ReadError {
	var err error
	if j.request, err = refetch.DecodeRequest(payload); err != nil {
		return &refetch.ReadError{Reason: "the request cannot be read"}
	}

	ns := j.request.Namespace
	if ns.DB == "" || ns.Coll == "" || !r.options.Filter.Takes(ns) {
		return &refetch.ReadError{Reason: fmt.Sprintf("the flow does not copy %q", ns)}
	}

	if j.id, err = j.request.DocumentKey.LookupErr("_id"); err == nil {
		_, err = event.NewKey(ns, j.id)
	}

	if err != nil {
		return &refetch.ReadError{Reason: "the document key has no _id that can be read"}
	}

	return nil
}

// answer reads the document and sends it.
func (r *Responder) answer(stop, work context.Context, j *job) {
	if stop.Err() != nil {
		r.fail(work, j, Failed, failure(context.Canceled))

		return
	}

	left := j.request.Patience - time.Since(j.came)
	if left <= 0 {
		r.count(Abandoned)

		return
	}

	ctx, cancel := context.WithTimeout(work, left)
	defer cancel()

	failpoint.Pass(failpoint.RefetchTaken)

	image, err := read(ctx, r.source, j.request.Namespace, j.id, j.request.NotBefore)
	if err != nil {
		r.log.DebugContext(ctx, "refetch failed",
			slog.String(telemetry.KeyNamespace, j.request.Namespace.String()), slog.String(telemetry.KeyReason, failure(err).Reason))
		r.fail(work, j, Failed, failure(err))

		return
	}

	if err := r.send(work, j.reply, image); err != nil {
		r.count(Abandoned)
		r.log.DebugContext(work, "refetch answer not sent", slog.Any(telemetry.KeyError, err))

		return
	}

	if image.Document == nil {
		r.count(Absent)
	} else {
		r.count(Present)
	}
}

// send publishes the parts one by one: each has reached the server before the next is written, so that no more than one
// per worker waits in this process.
func (r *Responder) send(ctx context.Context, reply string, image refetch.Image) error {
	limit, err := event.PartLimit(r.nc.MaxPayload(), nil)
	if err != nil {
		return err
	}

	messages := refetch.EncodeImage(reply, rand.Uint64(), image, limit) //nolint:gosec // it tells answers apart
	for i, m := range messages {
		if err := r.nc.PublishMsg(m); err != nil {
			return fmt.Errorf("publish part %d of %d: %w", i+1, len(messages), err)
		}

		if len(messages) > 1 {
			if err := r.flush(ctx); err != nil {
				return fmt.Errorf("publish part %d of %d: %w", i+1, len(messages), err)
			}
		}

		if err := failpoint.Error(failpoint.RefetchSent); err != nil {
			return err
		}
	}

	return nil
}

func (r *Responder) flush(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, sendTimeout)
	defer cancel()

	return r.nc.FlushWithContext(ctx)
}

// fail answers without an image.
func (r *Responder) fail(ctx context.Context, j *job, result Result, why *refetch.ReadError) {
	r.count(result)

	err := r.nc.PublishMsg(refetch.EncodeFailure(j.reply, rand.Uint64(), why)) //nolint:gosec // it tells answers apart
	if err != nil && !errors.Is(err, nats.ErrConnectionClosed) {
		r.log.DebugContext(ctx, "refetch answer not sent", slog.Any(telemetry.KeyError, err))
	}
}

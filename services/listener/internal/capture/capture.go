package capture

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.opentelemetry.io/otel/trace"

	"github.com/atlas-relay/atlas-relay/pkg/event"
	"github.com/atlas-relay/atlas-relay/pkg/failpoint"
	"github.com/atlas-relay/atlas-relay/pkg/retry"
	"github.com/atlas-relay/atlas-relay/pkg/telemetry"
	"github.com/atlas-relay/atlas-relay/pkg/topology"
	relayv1 "github.com/atlas-relay/atlas-relay/proto/relay/v1"
	"github.com/atlas-relay/atlas-relay/services/listener/internal/chain"
	"github.com/atlas-relay/atlas-relay/services/listener/internal/changestream"
	"github.com/atlas-relay/atlas-relay/services/listener/internal/leader"
	"github.com/atlas-relay/atlas-relay/services/listener/internal/rewind"
)

// Options of a Capture. The zero value of a duration takes its default.
type Options struct {
	Flow         string
	Include      []string // patterns of namespaces, see event.ParseFilter
	Exclude      []string
	FullDocument changestream.FullDocument
	BeforeChange changestream.BeforeChange
	SkipOrigins  []string // must be the stream's, in any order; empty: whatever the stream has

	// MarkerIdle is how long nothing may be published while the source's token
	// moves before a marker keeps it fresh. Default 10 s.
	MarkerIdle time.Duration
	// LeaseTTL is how long after the end of an active listener, without a word, a
	// standby takes over. Default 5 s.
	LeaseTTL time.Duration
	// Holder names this process in the flow's lease, for people. May be empty.
	Holder string
	// InitPoll is how often a listener looks for a stream that flow init has
	// not made yet. Default 5 s.
	InitPoll time.Duration
	// GapPoll is how often a listener that has lost the source's history, or its
	// stream, looks whether an operator has accepted the gap. Default 3 s.
	GapPoll time.Duration

	// Primary connects to the source so that its primary is read, whatever the source's
	// client reads; nil where that reads the primary anyway.
	Primary func() (*mongo.Client, error)

	// ReplyTimeout is described at changestream.Options.
	ReplyTimeout time.Duration

	Tracer trace.Tracer // nil: none

	Clock retry.Clock // zero: that of this machine
}

const (
	defaultMarkerIdle = 10 * time.Second
	defaultLeaseTTL   = 5 * time.Second
	defaultInitPoll   = 5 * time.Second
	defaultGapPoll    = 3 * time.Second
)

// Limits of waiting for servers.
const (
	requestTimeout = 5 * time.Second        // of a request to JetStream, or of one to the source that reads little
	firstBackoff   = 100 * time.Millisecond // after a session that ended with an error
	maxBackoff     = 2 * time.Second        // "resumes within 2 s of the server's return"
)

// connection is what a capture asks of the one to NATS: *nats.Conn.
type connection interface {
	chain.Conn
	topology.Requester

	FlushWithContext(ctx context.Context) error
	MaxPayload() int64
	StatusChanged(statuses ...nats.Status) chan nats.Status
	RemoveStatusListener(listener chan nats.Status)
}

// Capture is the active part of a listener. Make it with New, run it once.
type Capture struct {
	options Options
	filter  event.Filter
	source  *mongo.Client
	nc      connection
	js      jetstream.JetStream
	log     *slog.Logger

	writer uint64 // random number of this process
	board  board
	leader *leader.Leader // used by Run's goroutine only
	marked atomic.Bool    // a marker is asked for

	// What earlier sessions saw; used by Run's goroutine only.
	seen      *topology.Stream // nil until the stream was opened once
	lastTail  *chain.Tail      // nil until a tail was read in the present term
	checked   bool             // the source's identity and catalog are fine
	full      bool             // the last session ended because the stream was full
	rewindTo  *rewind.Point    // the next session begins a new generation there; nil: it goes on from the tail
	atPrimary bool             // the next session reads the source's primary
}

// New returns a capture of the source into the flow's stream. The error lists
// every bad namespace pattern.
func New(source *mongo.Client, nc *nats.Conn, js jetstream.JetStream, log *slog.Logger, options Options) (*Capture, error) {
	filter, err := event.ParseFilter(options.Include, options.Exclude)
	if err != nil {
		return nil, fmt.Errorf("read namespace patterns: %w", err)
	}

	if options.MarkerIdle == 0 {
		options.MarkerIdle = defaultMarkerIdle
	}

	if options.LeaseTTL == 0 {
		options.LeaseTTL = defaultLeaseTTL
	}

	if options.InitPoll == 0 {
		options.InitPoll = defaultInitPoll
	}

	if options.GapPoll == 0 {
		options.GapPoll = defaultGapPoll
	}

	c := &Capture{
		options: options,
		filter:  filter,
		source:  source,
		nc:      nc,
		js:      js,
		log:     log,
		writer:  rand.Uint64(), //nolint:gosec // it tells processes apart
	}
	c.leader = leader.New(js, log, leader.Options{Flow: options.Flow, TTL: options.LeaseTTL, Holder: c.holder()})
	c.setState(Starting, "connecting")

	return c, nil
}

// Status returns what the listener is doing. Safe for concurrent use.
func (c *Capture) Status() Status { return c.board.read() }

// Run captures until ctx ends. Trouble that passes is waited out; trouble that
// an operator has to settle leaves the listener in a terminal state, in which
// it stays up and says so. Out of HISTORY_LOST it goes on by itself once an
// accepted gap stands in the stream. It returns nil.
func (c *Capture) Run(ctx context.Context) error {
	defer c.leader.Close(ctx)

	for ctx.Err() == nil {
		err := retry.Do(ctx, retry.Policy{Initial: firstBackoff, Max: maxBackoff}, c.attempt)

		var trouble *interruption
		if errors.As(err, &trouble) && trouble.terminal() {
			c.log.ErrorContext(ctx, "capture stopped for good",
				slog.String(telemetry.KeyState, string(trouble.state)), slog.Any(telemetry.KeyError, trouble))
			c.awaitOperator(ctx, trouble.state)
		}
	}

	return nil
}

// attempt runs one session. It returns nil after one that got as far as
// streaming, so that the next one starts without the backoff of earlier
// failures.
func (c *Capture) attempt(ctx context.Context) error {
	streamed, err := c.lead(ctx)
	if err == nil {
		return nil
	}

	if ctx.Err() != nil {
		return retry.Permanent(err) // not trouble, but the end
	}

	trouble := c.interrupted(err)

	switch {
	case trouble.terminal():
		return retry.Permanent(trouble)
	case trouble.state == Starting:
		retry.Pause(ctx, c.options.InitPoll)

		return nil
	case streamed:
		c.log.WarnContext(ctx, "session ended, resuming from the stream's tail", slog.Any(telemetry.KeyError, trouble))
		// A session that streams and fails at once must not become a hot loop.
		retry.Pause(ctx, firstBackoff)

		return nil
	default:
		return trouble
	}
}

// interrupted takes in why a session ended.
func (c *Capture) interrupted(err error) *interruption {
	var trouble *interruption
	if !errors.As(err, &trouble) {
		trouble = &interruption{state: Waiting, err: err}
	}

	c.full = errors.Is(trouble, chain.ErrStreamFull)
	c.setState(trouble.state, trouble.Error())
	c.board.update(func(s *Status) { s.Recoveries++ })

	return trouble
}

// setState changes the state and says so in the log.
func (c *Capture) setState(state State, reason string) {
	before := c.board.read()
	if before.State == state && before.Reason == reason {
		return
	}

	c.board.update(func(s *Status) { s.State, s.Reason, s.Since = state, reason, c.options.Clock.Time() })

	if before.State != state {
		c.log.Info("state changed", slog.String(telemetry.KeyState, string(state)), slog.String(telemetry.KeyReason, reason))
	}
}

// tailReader is chain.ReadTail or chain.Glance.
type tailReader func(context.Context, *topology.Stream) (*chain.Tail, error)

// openTail opens the flow's stream and reads its end.
func (c *Capture) openTail(ctx context.Context, read tailReader) (*topology.Stream, *chain.Tail, error) {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()

	// Whatever this connection has sent must have arrived before the tail is
	// read; what the server still has in its queue then breaks the new chain
	// and is found at the next reading.
	if err := c.nc.FlushWithContext(ctx); err != nil {
		return nil, nil, streamTrouble(fmt.Errorf("reach NATS: %w", err), c.options.Flow, false)
	}

	stream, err := topology.Open(ctx, c.js, c.options.Flow)
	if err != nil {
		return nil, nil, streamTrouble(err, c.options.Flow, c.seen != nil)
	}

	if c.seen != nil && c.seen.StreamID != stream.StreamID && !c.replaced(ctx, stream) {
		return nil, nil, failed(
			fmt.Errorf("stream %s has id %s, it had %s", stream.Name(), stream.StreamID, c.seen.StreamID),
			"the stream was made anew while the listener was running: restart the listener if that was meant; "+
				"after relayctl flow accept-gap it goes on by itself",
		)
	}

	tail, err := read(ctx, stream)
	if err == nil {
		err = failpoint.Error(failpoint.TailRead)
	}

	if err != nil {
		return nil, nil, streamTrouble(err, c.options.Flow, c.seen != nil)
	}

	c.seen = stream

	return stream, tail, nil
}

// lost tells whether another listener has taken the tail since the last reading
// of this term: its message is newer, and neither ours nor of the one who was there
// before us (whose last messages may still have been under way).
func (c *Capture) lost(tail *chain.Tail) bool {
	last := c.lastTail

	return last != nil &&
		tail.Last.Sequence > last.Last.Sequence &&
		tail.Last.Writer != c.writer &&
		tail.Last.Writer != last.Last.Writer
}

// sameFilter tells whether the last marker was written with our filter.
func (c *Capture) sameFilter(tail *chain.Tail) bool {
	a, errA := markerPayload(&relayv1.Marker{Filter: tail.Marker.GetFilter()})
	b, errB := markerPayload(&relayv1.Marker{Filter: c.markerFilter()})

	return errA == nil && errB == nil && bytes.Equal(a, b)
}

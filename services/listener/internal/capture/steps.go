package capture

import (
	"context"
	"log/slog"

	"github.com/nats-io/nats.go/jetstream"
	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/atlas-relay/atlas-relay/pkg/topology"
	"github.com/atlas-relay/atlas-relay/services/listener/internal/chain"
	"github.com/atlas-relay/atlas-relay/services/listener/internal/changestream"
	"github.com/atlas-relay/atlas-relay/services/listener/internal/rewind"
)

// Steps is a capture without goroutines, timers and connections: whoever made it reads
// the source, and says when what happens. Everything that it decides is decided by the
// code that Run runs: session and the cores under it. Not for concurrent use.
type Steps struct {
	c *Capture

	// Of the present session.
	s      *session
	stream *topology.Stream
	tail   *chain.Tail
	watch  rewind.Watch
	last   topology.Stored // that the stream was seen to end with
}

// NewSteps returns one that has no session. writer is the number of its process;
// options must have a Clock. The error lists every bad namespace pattern.
func NewSteps(nc connection, js jetstream.JetStream, writer uint64, options Options) (*Steps, error) {
	c, err := New(nil, nil, js, slog.New(slog.DiscardHandler), options)
	if err != nil {
		return nil, err
	}

	c.nc, c.writer = nc, writer
	c.checked = true // the source is the caller's affair

	return &Steps{c: c}, nil
}

// NewTerm says that this listener has become the active one.
func (x *Steps) NewTerm() { x.c.lastTail = nil }

// Read begins a session: it reads the stream's tail, waits where the stream has to be
// rewound and nobody knows yet where to, and returns the token that the source has to
// be read after. End the session after an error of this or any other step.
func (x *Steps) Read(ctx context.Context) (after bson.Raw, err error) {
	stream, tail, room, err := x.c.rightfulTail(ctx)
	if err != nil {
		return nil, err
	}

	s, err := x.c.continueFrom(ctx, stream, tail)
	if err != nil {
		return nil, err
	}

	s.room = room
	x.s, x.stream, x.tail, x.watch, x.last = s, stream, tail, rewind.Watch{}, tail.Last

	return s.ledger.Token(), nil
}

// Refused is what it means that the source does not give what follows the token.
func (x *Steps) Refused(err error) error { return x.s.rangeLost(err, x.tail) }

// Begin makes the session publish. The source is open.
func (x *Steps) Begin(ctx context.Context) error { return x.s.begin(ctx, x.stream, x.tail) }

// Take takes in what the source gave next. Not while the publisher is Full.
func (x *Steps) Take(ctx context.Context, change *changestream.Change) error {
	if err := x.s.take(ctx, change); err != nil {
		return err
	}

	x.s.show(change)

	return nil
}

// Full tells that replies have to be awaited first.
func (x *Steps) Full() bool { return x.s.publisher.Full() }

// Reply takes in a reply of the server; it returns false when there is none.
func (x *Steps) Reply() (bool, error) {
	select {
	case reply := <-x.s.publisher.Replies():
		return true, x.s.handle(reply)
	default:
		return false, nil
	}
}

// Tick is to be called every 100 ms.
func (x *Steps) Tick(ctx context.Context) error { return x.s.onTick(ctx, x.c.options.Clock.Time()) }

// Scrub looks at the stream, which is to be done every five seconds, or every second
// while a rewind waits for reports.
func (x *Steps) Scrub(ctx context.Context) error {
	return x.s.look(ctx, &x.watch, x.stream, &x.last)
}

// End ends a session, if there is one, for this reason. terminal says that only an
// operator can go on.
func (x *Steps) End(err error) (terminal bool) {
	if x.s != nil && x.s.publisher != nil {
		x.s.publisher.Close()
	}

	x.s = nil

	return x.c.interrupted(err).terminal()
}

// Status is what the listener says of itself.
func (x *Steps) Status() Status { return x.c.Status() }

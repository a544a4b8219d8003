package janitor

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/atlas-relay/atlas-relay/pkg/failpoint"
	"github.com/atlas-relay/atlas-relay/pkg/telemetry"
	"github.com/atlas-relay/atlas-relay/pkg/topology"
)

// How often the janitor looks: processors report at least every 5 s.
const (
	defaultPoll  = 5 * time.Second
	tightPoll    = time.Second // while room is wanted
	turnTimeout  = 10 * time.Second
	notLookedYet = "not looked yet"
)

// Options of a Janitor.
type Options struct {
	Flow   string
	Margin uint64        // messages that stay behind the lowest checkpoint, see Decide
	Active func() bool   // whether this listener is the one that cleans up; asked before every look
	Mark   func()        // asks for a marker soon
	Poll   time.Duration // default 5 s
}

// Status is what the janitor knows and did.
type Status struct {
	Forbidden string // why nothing may be purged; empty when it may
	HeldBy    string // what keeps the rest of the stream
	Floor     uint64 // sequence of the lowest checkpoint; 0 while it is not known
	Purged    uint64 // messages, by this process
	Purges    uint64
}

// Janitor cleans up one flow's stream. Make it with New, run it once.
type Janitor struct {
	options Options
	js      jetstream.JetStream
	log     *slog.Logger

	mu     sync.Mutex
	status Status
}

// New returns a janitor.
func New(js jetstream.JetStream, log *slog.Logger, options Options) *Janitor {
	if options.Poll == 0 {
		options.Poll = defaultPoll
	}

	return &Janitor{options: options, js: js, log: log, status: Status{Forbidden: notLookedYet}}
}

// Status returns what the janitor knows. Safe for concurrent use.
func (j *Janitor) Status() Status {
	j.mu.Lock()
	defer j.mu.Unlock()

	return j.status
}

// Run looks until ctx ends. It returns nil: trouble with NATS is waited out, and
// never disturbs the capture.
func (j *Janitor) Run(ctx context.Context) error {
	timer := time.NewTimer(0)
	defer timer.Stop()

	for {
		select {
		case <-timer.C:
		case <-ctx.Done():
			return nil
		}

		wait := j.options.Poll

		if j.options.Active() {
			if j.turn(ctx) {
				wait = min(wait, tightPoll)
			}
		} else {
			j.note(ctx, Decision{Forbidden: "another listener is the active one, or this one cannot work"})
		}

		timer.Reset(wait)
	}
}

// turn looks once and purges what may go. It tells whether room is wanted.
func (j *Janitor) turn(ctx context.Context) (tight bool) {
	ctx, cancel := context.WithTimeout(ctx, turnTimeout)
	defer cancel()

	reconnects := j.reconnects()

	stream, v, err := j.look(ctx)
	if err != nil {
		if errors.Is(err, context.Canceled) {
			return false // the end, no trouble
		}

		j.log.DebugContext(ctx, "stream or reports cannot be read", slog.Any(telemetry.KeyError, err))
		j.note(ctx, Decision{Forbidden: "stream or reports cannot be read: " + err.Error()})

		return false
	}

	if v.IsMarkerFar() {
		j.options.Mark()
	}

	d := Decide(v, j.options.Margin)
	j.note(ctx, d)

	if d.KeepFrom > 0 {
		j.purge(ctx, stream, v, &d, reconnects)
	}

	return v.IsTight()
}

// purge does what was decided on a look by the connection that had been made anew so often.
func (j *Janitor) purge(ctx context.Context, stream *topology.Stream, v *View, d *Decision, reconnects uint64) {
	failpoint.Pass(failpoint.PurgeDecided)

	// A server that was restarted since may have lost the end of the stream, and what was to be kept with it: the purge
	// would leave nothing, and nobody could go on. On one connection it comes to the server that was asked, and a
	// connection that is lost takes no message along: natsconn keeps none back for the next one.
	if j.reconnects() != reconnects {
		j.log.InfoContext(ctx, "stream not purged: NATS was reconnected to since it was looked at; it is looked at again")

		return
	}

	// One that was not answered may have happened; the next look shows it.
	err := stream.Purge(ctx, d.KeepFrom)
	if err == nil {
		err = failpoint.Error(failpoint.PurgeSent)
	}

	if err != nil {
		j.log.WarnContext(ctx, "stream not purged", slog.Any(telemetry.KeyError, err))

		return
	}

	purged := min(d.KeepFrom-v.First, v.Messages)

	j.mu.Lock()
	j.status.Purged += purged
	j.status.Purges++
	j.mu.Unlock()

	j.log.InfoContext(ctx, "stream purged",
		slog.Uint64("first", d.KeepFrom), slog.Uint64("messages", purged), slog.Uint64("floor", d.Floor), slog.String("held_by", d.HeldBy))
}

// reconnects is how often the connection was made anew.
func (j *Janitor) reconnects() uint64 { return j.js.Conn().Stats().Reconnects }

// note keeps a decision for Status, and says in the log when it became another.
func (j *Janitor) note(ctx context.Context, d Decision) {
	j.mu.Lock()
	before := j.status.Forbidden
	j.status.Forbidden, j.status.HeldBy, j.status.Floor = d.Forbidden, d.HeldBy, d.Floor
	j.mu.Unlock()

	switch {
	case before == d.Forbidden:
	case d.Forbidden == "":
		j.log.InfoContext(ctx, "stream may be purged")
	default:
		j.log.InfoContext(ctx, "stream may not be purged", slog.String(telemetry.KeyReason, d.Forbidden))
	}
}

// look reads stream and reports. The reports come first: the stream only grows
// while a checkpoint is on its way.
func (j *Janitor) look(ctx context.Context) (*topology.Stream, *View, error) {
	reports, err := readReports(ctx, j.js, j.options.Flow)
	if err != nil {
		return nil, nil, err
	}

	stream, err := topology.Open(ctx, j.js, j.options.Flow)
	if err != nil {
		return nil, nil, err
	}

	marker, err := stream.LastMarker(ctx)
	if err != nil {
		return nil, nil, err
	}

	tail, err := stream.Tail(ctx)
	if err != nil {
		return nil, nil, err
	}

	state, config, err := stream.State(ctx)
	if err != nil {
		return nil, nil, err
	}

	if tail.StreamID != stream.StreamID {
		return nil, nil, fmt.Errorf("message %d is of stream id %q, the stream has %s", tail.Sequence, tail.StreamID, stream.StreamID)
	}

	return stream, &View{
		StreamID: stream.StreamID, Partitions: stream.Partitions, Generation: tail.Generation,
		First: state.FirstSeq, Last: state.LastSeq, Messages: state.Msgs, Bytes: state.Bytes,
		MaxBytes: uint64(max(config.MaxBytes, 0)), Marker: marker.Sequence, Reports: reports,
	}, nil
}

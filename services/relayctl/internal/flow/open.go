package flow

import (
	"context"
	"errors"
	"fmt"
	"log/slog"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"go.mongodb.org/mongo-driver/v2/mongo"

	"github.com/atlas-relay/atlas-relay/pkg/event"
	"github.com/atlas-relay/atlas-relay/pkg/mongodb"
	"github.com/atlas-relay/atlas-relay/pkg/settings"
	"github.com/atlas-relay/atlas-relay/pkg/topology"
)

// OpenSettings are what commands need that look at both sides of a flow.
type OpenSettings struct {
	Connection

	SourceURI settings.URI `env:"SOURCE_URI,required" help:"MongoDB to read from: a replica set or a sharded cluster"`
	TargetURI settings.URI `env:"TARGET_URI,required" help:"MongoDB to write to: a replica set or a sharded cluster"`
}

// Validate implements the check that settings.Load makes.
func (s *OpenSettings) Validate() error {
	return errors.Join(checkURI("SOURCE_URI", s.SourceURI), checkURI("TARGET_URI", s.TargetURI))
}

// Opened is a flow with both sides, all of which answered.
type Opened struct {
	Source, Target *mongo.Client
	Stream         *topology.Stream
	Filter         event.Filter // of the newest marker

	nc       *nats.Conn
	settings *OpenSettings
}

// Open connects to everything that a flow is between. It waits for servers that are away until ctx ends. The caller must
// Close it.
func Open(ctx context.Context, s *OpenSettings, log *slog.Logger) (opened *Opened, err error) {
	o := &Opened{settings: s}

	defer func() {
		if err != nil {
			o.Close(ctx)

			err = gaveUp(ctx, err)
		}
	}()

	var js jetstream.JetStream
	if o.nc, js, err = connectNATS(ctx, &s.Connection, log); err != nil {
		return nil, err
	}

	if o.Stream, err = openStream(ctx, js, &s.Connection); err != nil {
		return nil, err
	}

	if o.Filter, err = readFilter(ctx, o.Stream); err != nil {
		return nil, fmt.Errorf("NATS at %s: %w", s.NATS.URL, err)
	}

	var hello mongodb.Hello
	if o.Source, hello, err = connectMongo(ctx, "SOURCE_URI", s.SourceURI, true); err != nil {
		return nil, err
	}

	if mine := hello.Identity(); o.Stream.Source != "" && !mongodb.SameDeployment(mine, o.Stream.Source) {
		return nil, &RefusedError{
			What: fmt.Sprintf("SOURCE_URI (%s) is %q, the flow was made with %q", s.SourceURI, mine, o.Stream.Source),
			Next: "let SOURCE_URI name the flow's source, or set FLOW to another one",
		}
	}

	o.Target, _, err = connectMongo(ctx, "TARGET_URI", s.TargetURI, false)

	return o, err
}

// openStream opens the stream of a flow that was made.
func openStream(ctx context.Context, js jetstream.StreamManager, c *Connection) (*topology.Stream, error) {
	stream, err := topology.Open(ctx, js, c.Flow)
	if errors.Is(err, topology.ErrNoStream) {
		return nil, &RefusedError{What: fmt.Sprintf("flow %s has no stream at %s", c.Flow, c.NATS.URL), Next: "relayctl flow init, or set FLOW to another one"}
	}

	if err != nil {
		return nil, openTrouble(c.NATS.URL, c.Flow, err)
	}

	return stream, nil
}

// readFilter returns the filter that the listener applied last.
func readFilter(ctx context.Context, stream *topology.Stream) (event.Filter, error) {
	last, err := stream.LastMarker(ctx)
	if err != nil {
		return event.Filter{}, err
	}

	marker, err := last.Marker()
	if err != nil {
		return event.Filter{}, err
	}

	return event.ParseFilter(marker.GetFilter().GetInclude(), marker.GetFilter().GetExclude())
}

// SourceTrouble says what an error of the source means.
func (o *Opened) SourceTrouble(err error) error {
	return mongoTrouble("SOURCE_URI", o.settings.SourceURI, err)
}

// TargetTrouble says what an error of the target means.
func (o *Opened) TargetTrouble(err error) error {
	return mongoTrouble("TARGET_URI", o.settings.TargetURI, err)
}

// StreamTrouble says what an error of the stream means.
func (o *Opened) StreamTrouble(err error) error {
	switch {
	case errors.Is(err, topology.ErrNoStream), errors.Is(err, topology.ErrNoMessage), errors.Is(err, event.ErrMalformed):
		return &RefusedError{What: "the flow's stream is not what it was", Err: err, Next: "relayctl status says what became of it"}
	case errors.Is(err, nats.ErrTimeout), errors.Is(err, nats.ErrNoResponders), errors.Is(err, nats.ErrConnectionClosed), errors.Is(err, nats.ErrDisconnected):
		return natsTrouble(o.settings.NATS.URL, err)
	default:
		return err
	}
}

// Close ends the connections.
func (o *Opened) Close(ctx context.Context) {
	for _, client := range []*mongo.Client{o.Source, o.Target} {
		if client != nil {
			_ = mongodb.Disconnect(ctx, client) // the server ends what is left by itself
		}
	}

	if o.nc != nil {
		o.nc.Close()
	}
}

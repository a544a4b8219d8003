package preflight

import (
	"context"
	"log/slog"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"go.mongodb.org/mongo-driver/v2/event"
	"go.mongodb.org/mongo-driver/v2/mongo"

	"github.com/atlas-relay/atlas-relay/pkg/checkpoint"
	relayevent "github.com/atlas-relay/atlas-relay/pkg/event"
	"github.com/atlas-relay/atlas-relay/pkg/mongodb"
	"github.com/atlas-relay/atlas-relay/pkg/settings"
	"github.com/atlas-relay/atlas-relay/pkg/tlsfiles"
	"github.com/atlas-relay/atlas-relay/pkg/topology"
)

// Options says what to look at.
type Options struct {
	Flow      string
	NATS      settings.NATS
	SourceURI settings.URI
	TargetURI settings.URI
	Filter    relayevent.Filter
	DDL       bool // schema changes are replicated, and with them what cannot be spread over partitions

	MaxBytes   int64 // of the stream; 0: the default
	Partitions int   // 0: not said

	// API are the files of the stats service, if this host has them.
	API tlsfiles.Files

	// Mistakes are what is wrong with the settings.
	Mistakes []settings.Mistake
	// SourceMonitor and TargetMonitor, when set, see every command.
	SourceMonitor, TargetMonitor *event.CommandMonitor
	Log                          *slog.Logger
}

// World is what the checks look at and what they have learnt. A check writes
// only fields that nobody reads who does not need it.
type World struct {
	Options

	source, target deployment
	catalog        []mongodb.Collection // of the source, by SRC006
	definitions    definitions          // by TGT006
	nc             *nats.Conn           // by NTS001
	js             jetstream.JetStream  // by NTS001
	account        *jetstream.AccountInfo
	stream         *topology.Stream // by STR001
	state          jetstream.StreamState
	maxBytes       int64 // of the stream
	tail           topology.Stored
	checkpoints    map[int]checkpoint.Document // by CHK001
}

// deployment is one of the two MongoDB sides.
type deployment struct {
	variable string
	uri      settings.URI
	monitor  *event.CommandMonitor
	client   *mongo.Client
	hello    mongodb.Hello
	process  process
	skew     time.Duration // its clock less ours
	skewed   bool          // skew is known
	borrowed bool          // client is somebody else's
}

// New returns a world that nothing was asked about yet. The caller must Close it.
func New(o Options) *World {
	return &World{
		Options: o,
		source:  deployment{variable: "SOURCE_URI", uri: o.SourceURI, monitor: o.SourceMonitor},
		target:  deployment{variable: "TARGET_URI", uri: o.TargetURI, monitor: o.TargetMonitor},
	}
}

// Close ends what the checks opened.
func (w *World) Close(ctx context.Context) {
	for _, d := range []*deployment{&w.source, &w.target} {
		if d.client != nil && !d.borrowed {
			_ = mongodb.Disconnect(ctx, d.client) // the answers are there
		}
	}

	if w.nc != nil {
		w.nc.Close()
	}
}

func (d *deployment) where() string { return d.variable + " (" + d.uri.String() + ")" }

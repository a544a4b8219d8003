package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"go.mongodb.org/mongo-driver/v2/mongo"

	"github.com/atlas-relay/atlas-relay/pkg/event"
	"github.com/atlas-relay/atlas-relay/pkg/lifecycle"
	"github.com/atlas-relay/atlas-relay/pkg/mongodb"
	"github.com/atlas-relay/atlas-relay/pkg/natsconn"
	"github.com/atlas-relay/atlas-relay/pkg/preflight"
	"github.com/atlas-relay/atlas-relay/pkg/report"
	"github.com/atlas-relay/atlas-relay/pkg/service"
	"github.com/atlas-relay/atlas-relay/pkg/telemetry"
	"github.com/atlas-relay/atlas-relay/pkg/topology"
	relayv1 "github.com/atlas-relay/atlas-relay/proto/relay/v1"
	"github.com/atlas-relay/atlas-relay/services/listener/internal/capture"
	"github.com/atlas-relay/atlas-relay/services/listener/internal/changestream"
	"github.com/atlas-relay/atlas-relay/services/listener/internal/refetch"
)

// selectionTimeout is how long an operation waits for the source before the
// listener says that it is away.
const selectionTimeout = 5 * time.Second

// run is the listener: source, then stream, then what tells about them.
func run(ctx context.Context, cfg *Config, p *service.Process) error {
	source, err := mongodb.Connect(cfg.SourceURI, reads(cfg))
	if err != nil {
		return err
	}

	defer func() { _ = mongodb.Disconnect(ctx, source) }() // the server ends what is left by itself

	if err := refuse(ctx, source, p.Log); err != nil {
		return err
	}

	nc, err := natsconn.Connect(cfg.NATS, listens(cfg.Flow, ""), p.Log)
	if err != nil {
		return err
	}
	defer nc.Close()

	js, err := jetstream.New(nc)
	if err != nil {
		return fmt.Errorf("use JetStream: %w", err)
	}

	instance := report.NewInstance(cfg.OpsAddr)

	listener, err := capture.New(source, nc, js, p.Log, captureOptions(cfg, p, instance))
	if err != nil {
		return err
	}

	answers, err := natsconn.Connect(cfg.NATS, listens(cfg.Flow, " refetch"), p.Log)
	if err != nil {
		return err
	}
	defer answers.Close()

	responder, err := newResponder(cfg, source, answers, listener, p.Log)
	if err != nil {
		return err
	}

	cleaning, err := connectJanitor(cfg, nc, p.Log)
	if err != nil {
		return err
	}
	defer cleaning.Close()

	care, err := newUpkeep(cfg, source, js, cleaning, listener, p.Log)
	if err != nil {
		return err
	}

	key := topology.ListenerReportKey(cfg.Flow, instance.GetId())

	p.Metrics.MustRegister(newMetrics(cfg.Flow, listener, responder), care)

	return p.Run(ctx,
		lifecycle.Task{Name: "capture", Run: listener.Run},
		lifecycle.Task{Name: "refetch", Work: responder.Work},
		lifecycle.Task{Name: "refetch nats", Run: func(ctx context.Context) error { return natsconn.Watch(ctx, answers) }},
		lifecycle.Task{Name: "janitor", Run: care.janitor.Run},
		lifecycle.Task{Name: "janitor nats", Run: func(ctx context.Context) error { return natsconn.Watch(ctx, cleaning) }},
		lifecycle.Task{Name: "history", Run: care.history.Run},
		lifecycle.Task{Name: "nats", Run: func(ctx context.Context) error { return natsconn.Watch(ctx, nc) }},
		lifecycle.Task{Name: "readiness", Run: readiness(p.Health.Part("capture"), listener)},
		lifecycle.Task{Name: "report", Last: true, Run: func(ctx context.Context) error {
			return report.Run(ctx, js, key, cfg.LeaseTTL, care.report(reportOf(cfg, instance, listener)), p.Log)
		}},
	)
}

// reads says how a listener's connection to the source is made.
func reads(cfg *Config) mongodb.Options {
	return mongodb.Options{AppName: "atlas-relay listener " + cfg.Flow, ServerSelectionTimeout: selectionTimeout}
}

// primaryOf connects to the source so that its primary is read; nil where SOURCE_URI has nothing else read.
func primaryOf(cfg *Config) func() (*mongo.Client, error) {
	if mongodb.ReadsPrimary(cfg.SourceURI) {
		return nil
	}

	o := reads(cfg)
	o.Primary = true

	return func() (*mongo.Client, error) { return mongodb.Connect(cfg.SourceURI, o) }
}

// listens says how a listener's connection is made; all of one have the same inbox.
func listens(flow, what string) natsconn.Options {
	return natsconn.Options{Name: "listener " + flow + what, Inbox: topology.ListenerInbox(flow), Wait: true}
}

// connectJanitor returns the connection by which the stream is purged: the listener's own, unless that right was given to
// somebody else.
func connectJanitor(cfg *Config, nc *nats.Conn, log *slog.Logger) (*nats.Conn, error) {
	if cfg.JanitorCreds == "" {
		return nc, nil
	}

	at := cfg.NATS
	at.Creds = cfg.JanitorCreds

	return natsconn.Connect(at, natsconn.Options{
		Name: "listener " + cfg.Flow + " janitor", Inbox: topology.JanitorInbox(cfg.Flow), Wait: true,
	}, log)
}

func captureOptions(cfg *Config, p *service.Process, instance *relayv1.Instance) capture.Options {
	return capture.Options{
		Flow:         cfg.Flow,
		Include:      cfg.Include.Patterns(),
		Exclude:      cfg.Exclude.Patterns(),
		SkipOrigins:  cfg.SkipOrigins,
		FullDocument: changestream.FullDocument(cfg.FullDocument),
		BeforeChange: changestream.BeforeChange(cfg.BeforeChange),
		LeaseTTL:     cfg.LeaseTTL,
		Primary:      primaryOf(cfg),
		Holder:       fmt.Sprintf("id=%s host=%s pid=%d", instance.GetId(), instance.GetHost(), instance.GetPid()),
		Tracer:       p.Tracers.Tracer("github.com/atlas-relay/atlas-relay/services/listener"),
	}
}

// newResponder answers for the namespaces that the capture takes, while it is the active one, also while that waits.
func newResponder(cfg *Config, source *mongo.Client, nc *nats.Conn, listener *capture.Capture, log *slog.Logger) (*refetch.Responder, error) {
	filter, err := event.ParseFilter(cfg.Include.Patterns(), cfg.Exclude.Patterns())
	if err != nil {
		return nil, fmt.Errorf("read namespace patterns: %w", err)
	}

	return refetch.New(source, nc, log, refetch.Options{
		Flow:   cfg.Flow,
		Filter: filter,
		Active: func() bool { return answers(listener.Status()) },
	}), nil
}

// refuse ends the start for a source that no waiting will make right. One that
// is away is waited for later.
func refuse(ctx context.Context, source *mongo.Client, log *slog.Logger) error {
	hello, err := mongodb.SayHello(ctx, source)
	if err == nil {
		err = hello.RequireReplicaSet()
	}

	switch {
	case err == nil:
		log.InfoContext(ctx, "source found", slog.String("identity", hello.Identity()), slog.String("version", hello.Version))
		preflight.WarnOfSource(ctx, source, log)

		return nil
	case mongodb.IsUnauthorized(err), errors.Is(err, mongodb.ErrStandalone):
		return &refusedError{err: err}
	default:
		log.WarnContext(ctx, "source cannot be reached yet", slog.Any(telemetry.KeyError, err), slog.String(telemetry.KeyRemedy, mongodb.Explain(err)))

		return nil
	}
}

// refusedError is a source that the configuration should not have named.
type refusedError struct{ err error }

func (e *refusedError) Error() string {
	return fmt.Sprintf("SOURCE_URI refused: %v; %s", e.err, mongodb.Explain(e.err))
}

func (e *refusedError) Unwrap() error { return e.err }

// ExitCode is 2: configuration refused.
func (*refusedError) ExitCode() int { return 2 }

// Package service is the frame that every service's main hangs its run in:
// subcommands, configuration, logger, memory limit, ops server, exit.
//
//	listener               runs
//	listener config        prints the settings reference as Markdown
//	listener healthcheck   asks the running instance whether it is ready
//	listener version       prints the version
package service

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"runtime/debug"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"go.opentelemetry.io/otel/trace"

	"github.com/atlas-relay/atlas-relay/pkg/lifecycle"
	"github.com/atlas-relay/atlas-relay/pkg/ops"
	"github.com/atlas-relay/atlas-relay/pkg/settings"
	"github.com/atlas-relay/atlas-relay/pkg/telemetry"
)

// Config is a pointer to a settings struct that embeds settings.Common.
type Config interface {
	Base() *settings.Common
}

// Process is what a service's run gets beside its configuration.
type Process struct {
	Log     *slog.Logger
	Health  *ops.Health
	Metrics *prometheus.Registry // build info and Go's own are in it already
	Tracers trace.TracerProvider // of no effect unless OTEL_* asks for traces

	cfg          *settings.Common
	certificates []lifecycle.Task
}

// Main does what args say. cfg holds the defaults that tags cannot. run builds
// the service, in the order data flows, and ends with p.Run.
func Main(ctx context.Context, name string, args []string, environ map[string]string, cfg Config,
	run func(ctx context.Context, p *Process) error,
) error {
	return command(ctx, os.Stdout, name, args, environ, cfg, run)
}

func command(ctx context.Context, out io.Writer, name string, args []string, environ map[string]string, cfg Config,
	run func(ctx context.Context, p *Process) error,
) error {
	verb := "run"
	if len(args) > 0 {
		verb = args[0]
	}

	switch verb {
	case "run":
		if err := settings.Load(cfg, environ); err != nil {
			return err
		}

		return start(ctx, name, environ, cfg.Base(), run)
	case "config":
		return writeReference(out, cfg)
	case "healthcheck":
		return healthcheck(ctx, environ, cfg)
	case "version", "--version": // the latter is what people try first
		_, err := fmt.Fprintln(out, name, telemetry.Version())

		return err
	default:
		return &usageError{name: name, verb: verb}
	}
}

// usageError is a command line that makes no sense.
type usageError struct{ name, verb string }

func (e *usageError) Error() string {
	return fmt.Sprintf("unknown command %q; use: %s [config | healthcheck | version]", e.verb, e.name)
}

// ExitCode is 2: input refused.
func (*usageError) ExitCode() int { return 2 }

func start(ctx context.Context, name string, environ map[string]string, cfg *settings.Common,
	run func(ctx context.Context, p *Process) error,
) (err error) {
	log := telemetry.NewLogger(os.Stderr, name, cfg.LogLevel, cfg.LogFormat)

	tracers, flush, err := telemetry.Tracing(ctx, name, environ, log)
	if err != nil {
		return err
	}

	defer func() { _ = flush(context.WithoutCancel(ctx)) }() // the exporter has logged what it could not send

	p := &Process{Log: log, Health: new(ops.Health), Metrics: prometheus.NewRegistry(), Tracers: tracers, cfg: cfg}
	p.Metrics.MustRegister(
		telemetry.BuildInfo(name),
		collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
	)

	certificates, err := watchNATS(cfg, p)
	if err != nil {
		return err
	}

	p.certificates = certificates

	log.InfoContext(ctx, "starting", slog.String("version", telemetry.Version()), slog.String(telemetry.KeyFlow, cfg.Flow))

	if err := run(ctx, p); err != nil {
		return err
	}

	log.InfoContext(ctx, "stopped")

	return nil
}

// LimitMemory makes the garbage collector work harder above this many bytes,
// unless GOMEMLIMIT says otherwise. It is a soft limit: nothing fails above it.
func LimitMemory(environ map[string]string, limit settings.Bytes) {
	if environ["GOMEMLIMIT"] == "" {
		debug.SetMemoryLimit(int64(limit))
	}
}

// Run serves ops on OPS_ADDR (none when it is "off") beside the tasks until ctx
// ends, and turns readiness off first.
func (p *Process) Run(ctx context.Context, tasks ...lifecycle.Task) error {
	defer context.AfterFunc(ctx, p.Health.Stopping)()

	if p.cfg.OpsAddr != "off" {
		server, err := ops.Listen(ctx, p.cfg.OpsAddr, p.Health, p.Metrics)
		if err != nil {
			return err
		}

		p.Log.InfoContext(ctx, "serving ops", slog.String("ops_addr", server.Addr()))

		tasks = append(tasks, lifecycle.Task{Name: "ops", Run: server.Serve, Last: true})
	}

	return lifecycle.Run(ctx, p.cfg.ShutdownGrace, append(tasks, p.certificates...)...)
}

// healthcheck asks the instance on this host. It needs OPS_ADDR alone, so a
// check does not fail for settings that concern only the service.
func healthcheck(ctx context.Context, environ map[string]string, cfg Config) error {
	addr := cfg.Base().OpsAddr
	if given := environ["OPS_ADDR"]; given != "" {
		addr = given
	}

	return ops.Check(ctx, addr)
}

// writeReference writes one table row per variable.
func writeReference(out io.Writer, cfg Config) error {
	for _, f := range settings.Fields(cfg) {
		if _, err := fmt.Fprintln(out, f.Row()); err != nil {
			return fmt.Errorf("write settings reference: %w", err)
		}
	}

	return nil
}

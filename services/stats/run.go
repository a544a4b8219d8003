package main

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/atlas-relay/atlas-relay/pkg/lifecycle"
	"github.com/atlas-relay/atlas-relay/pkg/mongodb"
	"github.com/atlas-relay/atlas-relay/pkg/natsconn"
	"github.com/atlas-relay/atlas-relay/pkg/service"
	"github.com/atlas-relay/atlas-relay/pkg/topology"
	"github.com/atlas-relay/atlas-relay/services/stats/internal/api"
	"github.com/atlas-relay/atlas-relay/services/stats/internal/collect"
	"github.com/atlas-relay/atlas-relay/services/stats/internal/deadletter"
	"github.com/atlas-relay/atlas-relay/services/stats/internal/pausing"
	"github.com/atlas-relay/atlas-relay/services/stats/internal/timeline"
	"github.com/atlas-relay/atlas-relay/services/stats/internal/web"
)

const (
	// selectionTimeout is how long a target that is away holds up a sample.
	selectionTimeout = time.Second
	// poolSize suffices: a flow's callers share its samples, which ask five
	// questions at a time; people look at dead letters one by one.
	poolSize = 8
)

// run is the stats service: where it reads, what it answers. Neither NATS nor a
// target has to be there.
func run(ctx context.Context, cfg *Config, p *service.Process) error {
	nc, err := natsconn.Connect(cfg.NATS, natsconn.Options{Name: "stats", Inbox: topology.StatsInbox, Wait: true}, p.Log)
	if err != nil {
		return err
	}
	defer nc.Close()

	js, err := jetstream.New(nc)
	if err != nil {
		return fmt.Errorf("use JetStream: %w", err)
	}

	book := collect.NewBook(nc, js, p.Log)
	targets := cfg.Targets()

	var (
		flows    []api.Flow
		letters  []*deadletter.Letters
		switches []*pausing.Switch
	)

	for _, name := range slices.Sorted(maps.Keys(targets)) {
		target, err := mongodb.Connect(targets[name], mongodb.Options{
			AppName: "atlas-relay stats " + name, ServerSelectionTimeout: selectionTimeout, MaxPoolSize: poolSize,
		})
		if err != nil {
			return err
		}

		defer func() { _ = mongodb.Disconnect(ctx, target) }() // the server ends what is left by itself

		of := deadletter.New(name, target)
		flows = append(flows, collect.NewFlow(name, js, target, of, book))
		letters = append(letters, of)
		switches = append(switches, pausing.New(name, target))
	}

	timelines, tasks := recorders(flows)

	secured, err := secure(ctx, cfg, p)
	if err != nil {
		return err
	}

	tasks = append(tasks, secured.tasks...)

	server, err := api.Listen(ctx, api.Options{
		Addr: cfg.GRPCAddr, TLS: secured.config("h2"), Guard: secured.guard, Flows: flows, Letters: letters, Switches: switches, Timelines: timelines, Log: p.Log,
	})
	if err != nil {
		return err
	}

	p.Log.InfoContext(ctx, "serving gRPC", slog.String("grpc_addr", server.Addr()), slog.Bool("tls", secured.files != nil))
	p.Metrics.MustRegister(newMetrics(func() (context.Context, context.CancelFunc) { return context.WithTimeout(ctx, scrapeTimeout) }, flows))

	if cfg.HTTPAddr != off {
		conn, err := server.Dial()
		if err != nil {
			return err
		}
		defer conn.Close()

		page, err := web.Listen(ctx, web.Options{
			Addr: cfg.HTTPAddr, Conn: conn, TLS: secured.config("h2", "http/1.1"), Covers: secured.covers, Log: p.Log,
		})
		if err != nil {
			return err
		}

		p.Log.InfoContext(ctx, "serving HTTP", slog.String("http_addr", page.Addr()), slog.Bool("tls", secured.files != nil))

		tasks = append(tasks, lifecycle.Task{Name: "http", Run: page.Serve})
	}

	return p.Run(ctx, append(tasks,
		lifecycle.Task{Name: "reports", Run: book.Run},
		lifecycle.Task{Name: "nats", Run: func(ctx context.Context) error { return natsconn.Watch(ctx, nc) }},
		lifecycle.Task{Name: "grpc", Run: server.Serve},
	)...)
}

// recorders are the timelines of the flows, and what fills them.
func recorders(flows []api.Flow) (map[string]*timeline.Timeline, []lifecycle.Task) {
	lines := make(map[string]*timeline.Timeline, len(flows))
	tasks := make([]lifecycle.Task, 0, len(flows))

	for _, flow := range flows {
		line := new(timeline.Timeline)
		lines[flow.Name()] = line
		tasks = append(tasks, lifecycle.Task{Name: "timeline " + flow.Name(), Run: func(ctx context.Context) error { return line.Record(ctx, flow) }})
	}

	return lines, tasks
}

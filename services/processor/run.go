package main

import (
	"context"
	"fmt"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/atlas-relay/atlas-relay/pkg/lifecycle"
	"github.com/atlas-relay/atlas-relay/pkg/mongodb"
	"github.com/atlas-relay/atlas-relay/pkg/natsconn"
	"github.com/atlas-relay/atlas-relay/pkg/refetch"
	"github.com/atlas-relay/atlas-relay/pkg/report"
	"github.com/atlas-relay/atlas-relay/pkg/service"
	"github.com/atlas-relay/atlas-relay/pkg/topology"
	"github.com/atlas-relay/atlas-relay/services/processor/internal/apply"
	"github.com/atlas-relay/atlas-relay/services/processor/internal/batch"
	"github.com/atlas-relay/atlas-relay/services/processor/internal/ownership"
	"github.com/atlas-relay/atlas-relay/services/processor/internal/park"
	"github.com/atlas-relay/atlas-relay/services/processor/internal/schema"
)

const (
	// selectionTimeout is how long an operation waits for the target before the
	// processor says that it is away.
	selectionTimeout = 5 * time.Second
	initPoll         = 5 * time.Second

	// Most that is kept of one document that cannot be applied; what comes after it is counted, and the source asked for
	// the document in its place.
	maxFollowers     = 1000
	maxFollowerBytes = 64 << 20
)

// run is the processor: stream, then target, then what tells about them.
func run(ctx context.Context, cfg *Config, p *service.Process) error {
	nc, err := natsconn.Connect(cfg.NATS, natsconn.Options{
		Name: "processor " + cfg.Flow, Inbox: topology.ProcessorInbox(cfg.Flow), Wait: true,
	}, p.Log)
	if err != nil {
		return err
	}
	defer nc.Close()

	js, err := jetstream.New(nc)
	if err != nil {
		return fmt.Errorf("use JetStream: %w", err)
	}

	target, err := mongodb.Connect(cfg.TargetURI, mongodb.Options{
		AppName:                "atlas-relay processor " + cfg.Flow,
		ServerSelectionTimeout: selectionTimeout,
	})
	if err != nil {
		return err
	}

	defer func() { _ = mongodb.Disconnect(ctx, target) }() // the server ends what is left by itself

	instance := report.NewInstance(cfg.OpsAddr)
	key := topology.ProcessorReportKey(cfg.Flow, instance.GetId())

	meters := newMeters(cfg.Flow)
	owner := ownership.New(target, nc, js, meters, p.Log, ownership.Options{
		Flow:     cfg.Flow,
		Identity: ownership.Identity{ID: instance.GetId(), Host: instance.GetHost(), PID: instance.GetPid()},
		LeaseTTL: cfg.LeaseTTL,
		Limits: batch.Limits{
			Size: cfg.BatchSize, Bytes: int(cfg.BatchMaxBytes),
			Idle: cfg.BatchIdleTimeout, MaxAge: cfg.BatchMaxAge, Eager: cfg.BatchEager,
		},
		Concurrency:  cfg.ApplyConcurrency,
		MemoryBudget: int64(cfg.MemoryBudget),
		Apply:        apply.Options{BypassValidation: cfg.BypassValidation},
		Park: park.Policy{
			Retries: cfg.MaxRetries, Delays: cfg.RetryDelays, Together: cfg.BatchSize,
			MaxEvents: maxFollowers, MaxBytes: maxFollowerBytes, MaxTotal: int64(cfg.ParkMaxBytes),
		},
		Refetch:  refetch.New(nc, cfg.Flow),
		Schema:   schema.New(target, schema.Options{NoIndexes: cfg.Indexes == indexesNone}),
		InitPoll: initPoll,
		Tracer:   p.Tracers.Tracer("github.com/atlas-relay/atlas-relay/services/processor"),
	})

	meters.register(p.Metrics, owner)

	return p.Run(ctx,
		lifecycle.Task{Name: "ownership", Work: owner.Run},
		lifecycle.Task{Name: "nats", Run: func(ctx context.Context) error { return natsconn.Watch(ctx, nc) }},
		lifecycle.Task{Name: "readiness", Run: readiness(p.Health.Part("partitions"), owner)},
		lifecycle.Task{Name: "report", Last: true, Run: func(ctx context.Context) error {
			return report.Run(ctx, js, key, cfg.LeaseTTL, reportOf(cfg.Flow, cfg.LeaseTTL, instance, owner), p.Log)
		}},
	)
}

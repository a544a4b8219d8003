package harness

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/atlas-relay/atlas-relay/pkg/checkpoint"
	"github.com/atlas-relay/atlas-relay/pkg/topology"
	relayv1 "github.com/atlas-relay/atlas-relay/proto/relay/v1"
)

// Crowd is instances that do nothing but report. With it the statistics of a large flow can be looked at on a small
// machine, and of one in any state.
type Crowd struct {
	mu         sync.Mutex
	listeners  []*relayv1.ListenerReport
	processors []*relayv1.ProcessorReport
	silent     string // id of the one that says nothing; empty: nobody

	flow string
}

const (
	crowdEpoch = 1 // of every ownership
	crowdLease = 5 * time.Second
)

// NewCrowd makes two listeners, one of them active, and processors that share the partitions, so many instances in all.
func NewCrowd(flow string, partitions, instances int) *Crowd {
	const listeners = 2

	c := &Crowd{flow: flow}

	instance := func(n int) *relayv1.Instance {
		return &relayv1.Instance{
			Id: fmt.Sprintf("%016x", n), Host: fmt.Sprintf("relay-%s-6d5f7c9b48-%05d", flow, n), Pid: int64(n), Version: "v1.2.3",
			StartTime: timestamppb.New(time.Now().Add(-time.Duration(n) * time.Hour)),
		}
	}

	for n := range listeners {
		l := &relayv1.ListenerReport{
			Flow: flow, Instance: instance(n + 1), State: relayv1.ListenerState_LISTENER_STATE_STANDBY, CaptureLag: durationpb.New(0),
			HistoryRemaining: durationpb.New(36 * time.Hour), HistoryWindow: durationpb.New(36 * time.Hour),
			HistoryTrend: relayv1.HistoryTrend_HISTORY_TREND_STEADY, HistoryLevel: relayv1.HistoryLevel_HISTORY_LEVEL_OK,
			HistoryWarn: durationpb.New(24 * time.Hour), HistoryCritical: durationpb.New(4 * time.Hour), LeaseTtl: durationpb.New(crowdLease),
		}
		if n == 0 {
			l.State, l.Term = relayv1.ListenerState_LISTENER_STATE_STREAMING, 1
		}

		c.listeners = append(c.listeners, l)
	}

	for n := range instances - listeners {
		c.processors = append(c.processors, &relayv1.ProcessorReport{Flow: flow, Instance: instance(listeners + n + 1), LeaseTtl: durationpb.New(crowdLease)})
	}

	for n := range partitions {
		p := c.processors[n%len(c.processors)]
		p.Partitions = append(p.Partitions, &relayv1.PartitionReport{
			Partition: uint32(n), State: relayv1.PartitionState_PARTITION_STATE_APPLYING, Epoch: crowdEpoch,
		})
	}

	return c
}

// Settle gives each partition a checkpoint at the stream's first message: nothing was applied yet.
func (c *Crowd) Settle(ctx context.Context, target *mongo.Client, streamID string, partitions int) error {
	all := make([]any, partitions)
	for n := range all {
		all[n] = checkpoint.Document{
			ID: checkpoint.ID(c.flow, n), Flow: c.flow, Partition: n, Epoch: crowdEpoch, Owner: 1, Commits: 1,
			Place: checkpoint.Place{StreamID: streamID, Sequence: 1, ResumeToken: bson.Raw{5, 0, 0, 0, 0}},
		}
	}

	if _, err := checkpoint.Checkpoints(target).InsertMany(ctx, all); err != nil {
		return fmt.Errorf("write checkpoints: %w", err)
	}

	return nil
}

// Alter changes what they say from their next report on.
func (c *Crowd) Alter(change func(listeners []*relayv1.ListenerReport, processors []*relayv1.ProcessorReport)) {
	c.mu.Lock()
	defer c.mu.Unlock()

	change(c.listeners, c.processors)
}

// Silence makes the one with this id say nothing from now on, as one that is frozen; empty: nobody.
func (c *Crowd) Silence(id string) {
	c.mu.Lock()
	defer c.mu.Unlock()

	c.silent = id
}

// Run reports for all of them every second, as living instances do at work, until ctx ends. Like them it goes on when NATS
// is away. It returns nil.
func (c *Crowd) Run(ctx context.Context, js jetstream.KeyValueManager) error {
	ticker := time.NewTicker(time.Second)
	defer ticker.Stop()

	for {
		_ = c.report(ctx, js)

		select {
		case <-ticker.C:
		case <-ctx.Done():
			return nil
		}
	}
}

func (c *Crowd) report(ctx context.Context, js jetstream.KeyValueManager) error {
	bucket, err := js.KeyValue(ctx, topology.StatsBucket)
	if err != nil {
		return fmt.Errorf("open bucket %s: %w", topology.StatsBucket, err)
	}

	put := func(key string, report proto.Message) error {
		value, err := proto.Marshal(report)
		if err == nil {
			_, err = bucket.Put(ctx, key, value)
		}

		if err != nil {
			return fmt.Errorf("report as %s: %w", key, err)
		}

		return nil
	}

	c.mu.Lock()
	defer c.mu.Unlock()

	for _, l := range c.listeners {
		if l.GetInstance().GetId() == c.silent {
			continue
		}

		l.ReportTime = timestamppb.Now()

		if err := put(topology.ListenerReportKey(c.flow, l.GetInstance().GetId()), l); err != nil {
			return err
		}
	}

	for _, p := range c.processors {
		if p.GetInstance().GetId() == c.silent {
			continue
		}

		p.ReportTime = timestamppb.Now()

		if err := put(topology.ProcessorReportKey(c.flow, p.GetInstance().GetId()), p); err != nil {
			return err
		}
	}

	return nil
}

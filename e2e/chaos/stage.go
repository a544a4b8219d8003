package chaos

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"go.mongodb.org/mongo-driver/v2/mongo"

	"github.com/atlas-relay/atlas-relay/e2e/chaos/load"
	"github.com/atlas-relay/atlas-relay/e2e/fault"
	"github.com/atlas-relay/atlas-relay/e2e/harness"
	"github.com/atlas-relay/atlas-relay/pkg/topology"
)

// flow is the flow's name.
const flow = "chaos"

// Link is a way between a service and a server, with a proxy on it.
type Link string

// The links.
const (
	SourceLink        Link = "source–listener"
	ListenerNATSLink  Link = "listener–NATS"
	ProcessorNATSLink Link = "NATS–processor"
	TargetLink        Link = "processor–target"
	StatsNATSLink     Link = "stats–NATS"
	StatsTargetLink   Link = "stats–target"
)

// Links are all of them.
func Links() []Link {
	return []Link{SourceLink, ListenerNATSLink, ProcessorNATSLink, TargetLink, StatsNATSLink, StatsTargetLink}
}

// Stage is what faults act on.
type Stage struct {
	World *harness.World
	Relay *harness.Relay
	Links map[Link]*fault.Proxy
	Load  *load.Load
	Plan  *Plan
	DB    string
	Note  func(format string, args ...any) // into the run's own log

	recording *recording
}

// Source and Target are the databases that the load and its replica are in.
func (s *Stage) Source() *mongo.Database { return s.World.Source.Client.Database(s.DB) }

// Target is the replica.
func (s *Stage) Target() *mongo.Database { return s.World.Target.Client.Database(s.DB) }

// Pass waits until the source has taken so many more changes, but not longer than most: a load that was held, or has
// ended, makes none.
func (s *Stage) Pass(ctx context.Context, changes uint64, most time.Duration) {
	ctx, cancel := context.WithTimeout(ctx, most)
	defer cancel()

	_ = s.Load.Await(ctx, s.Load.Changes()+changes)
}

// linger waits for a time: for faults that are measured in leases.
func linger(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()

	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}

// connect makes the proxies.
func connect(ctx context.Context, w *harness.World) (links map[Link]*fault.Proxy, own map[string]map[string]string, err error) {
	links = map[Link]*fault.Proxy{}
	nats := strings.TrimPrefix(w.NATS.URL(), "nats://")
	source, target := w.Source.Server.Addr(), w.Target.Server.Addr()

	for link, addr := range map[Link]string{
		SourceLink: source, ListenerNATSLink: nats, ProcessorNATSLink: nats, TargetLink: target, StatsNATSLink: nats, StatsTargetLink: target,
	} {
		if links[link], err = fault.Listen(ctx, addr); err != nil {
			return links, nil, err
		}
	}

	by := func(uri, addr string, link Link) string { return strings.Replace(uri, addr, links[link].Addr(), 1) }
	toTarget := func(link Link) string { return by(w.Target.URI.Reveal(), target, link) }

	// Of several servers the first one is behind the proxies: who is cut off from it has the others, and takes them.
	toNATS := func(link Link) string {
		if w.Cluster != nil {
			return by(w.Cluster.URL(), nats, link)
		}

		return by(w.NATS.URL(), nats, link)
	}

	return links, map[string]map[string]string{
		harness.Listener:  {"SOURCE_URI": by(w.Source.URI.Reveal(), source, SourceLink), "NATS_URL": toNATS(ListenerNATSLink)},
		harness.Processor: {"TARGET_URI": toTarget(TargetLink), "NATS_URL": toNATS(ProcessorNATSLink)},
		harness.Stats:     {"TARGET_URI": toTarget(StatsTargetLink), "NATS_URL": toNATS(StatsNATSLink)},
	}, nil
}

// natsPatience is how long NATS may take to answer after a start. A request sent to a server that has just come back is
// never answered, so each is short and sent again.
const (
	natsPatience = time.Minute
	natsRequest  = 1500 * time.Millisecond
	natsRetry    = 100 * time.Millisecond
)

// OnStream does something with the flow's stream, again until it succeeds. It goes to NATS without a proxy.
func (s *Stage) OnStream(ctx context.Context, do func(ctx context.Context, js jetstream.JetStream, stream jetstream.Stream) error) error {
	ctx, cancel := context.WithTimeout(ctx, natsPatience)
	defer cancel()

	var last error

	err := harness.Await(ctx, natsRetry, func(ctx context.Context) (bool, error) {
		last = s.tryStream(ctx, do)

		return last == nil, nil
	})
	if err != nil {
		return fmt.Errorf("use the stream: %w (%w)", err, last)
	}

	return nil
}

func (s *Stage) tryStream(ctx context.Context, do func(ctx context.Context, js jetstream.JetStream, stream jetstream.Stream) error) error {
	nc, js, err := s.World.JetStream()
	if err != nil {
		return err
	}
	defer nc.Close()

	ctx, cancel := context.WithTimeout(ctx, natsRequest)
	defer cancel()

	stream, err := js.Stream(ctx, topology.StreamName(flow))
	if err != nil {
		return err
	}

	return do(ctx, js, stream)
}

// State asks for the stream's figures.
func (s *Stage) State(ctx context.Context) (state jetstream.StreamState, err error) {
	err = s.OnStream(ctx, func(ctx context.Context, _ jetstream.JetStream, stream jetstream.Stream) error {
		info, err := stream.Info(ctx)
		if err == nil {
			state = info.State
		}

		return err
	})

	return state, err
}

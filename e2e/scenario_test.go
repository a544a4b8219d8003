package e2e_test

import (
	"context"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"

	"github.com/atlas-relay/atlas-relay/e2e/harness"
	"github.com/atlas-relay/atlas-relay/e2e/history/record"
	"github.com/atlas-relay/atlas-relay/e2e/traffic"
	"github.com/atlas-relay/atlas-relay/e2e/verify/live"
	"github.com/atlas-relay/atlas-relay/pkg/mongotest"
	"github.com/atlas-relay/atlas-relay/pkg/settings"
	relayv1 "github.com/atlas-relay/atlas-relay/proto/relay/v1"
)

// patience bounds each wait of a test; on an idle machine none lasts a tenth of it.
const patience = 2 * time.Minute

// scenario is a whole relay of a test, with or without traffic.
type scenario struct {
	t     *testing.T
	world *harness.World
	relay *harness.Relay
	db    string
	ddl   bool // schema changes are replicated
	alien bool // it has what no record can hold: images of the source, or writes of the test to the target

	seed     uint64           // of everything random; 0: as the environment says
	rate     float64          // of the traffic, changes per second; 0: as fast as possible
	schema   float64          // schema changes and writes between them, per second; 0: none
	recorder *record.Recorder // of the run; nil: nobody records it
	folder   string           // of the record
	cluster  harness.Cluster  // that holds the stream; nil: the NATS of the world
	shelves  int              // names of the collections that they are about; 0: as many as traffic has
	traffic  *traffic.Traffic
	failed   uint64 // changes that are meant to
	others   uint64 // changes beside the traffic, in the database beside
	made     func() // what is to happen to the flow before the services start; nil: nothing
	order    *live.Order
	patience time.Duration // of waiting for the relay, where that is more than patience
	end      chan struct{} // closed by finish
	running  chan error    // of the traffic
	watched  chan error    // of the recording
}

// open starts servers and services between two empty databases. The source is the server of MONGODB, if that is set:
// the target has to be one that a test may kill.
func open(t *testing.T) *scenario {
	t.Helper()

	return openWith(t, nil)
}

// openWith is open with settings of its own for the services.
func openWith(t *testing.T, env map[string]string) *scenario {
	t.Helper()

	return openOn(t, env, harness.WorldOptions{})
}

// openOn is openWith on servers with these options; which servers they are the environment says.
func openOn(t *testing.T, env map[string]string, options harness.WorldOptions) *scenario {
	t.Helper()

	find := func(uri string) mongotest.Choice {
		choice, err := mongotest.Find(t.Context(), mongotest.FindOptions{URI: settings.URI(uri), Progress: os.Stderr})
		require.NoError(t, err)

		return choice
	}

	options.Programs, options.Source, options.Target, options.SyncOnCommit = programs, find(os.Getenv(mongotest.Variable)), find(""), true

	world, err := harness.StartWorld(t.Context(), options)
	require.NoError(t, err)

	s := &scenario{t: t, world: world, db: "e2e_" + bson.NewObjectID().Hex(), rate: steady}

	t.Cleanup(func() { s.close() })

	own := map[string]string{"INCLUDE_NAMESPACES": s.db + ".*," + s.beside() + ".*"}
	maps.Copy(own, env)

	s.ddl = own["DDL"] == "on"
	s.alien = own["FULL_DOCUMENT"] != "" && own["FULL_DOCUMENT"] != "delta"

	s.relay, err = world.Relay(t.Context(), programs, "test", own)
	require.NoError(t, err)

	return s
}

// replicate makes the flow, starts the services and waits until they are at work.
func (s *scenario) replicate() {
	s.t.Helper()

	require.NoError(s.t, s.relay.Init(s.t.Context()))

	if s.made != nil {
		s.made()
	}

	require.NoError(s.t, s.relay.Start())
	s.await("a flow that replicates", harness.Replicating)
}

// refuseBad has the target refuse documents with the field bad, which the source takes. It comes after flow init, which
// refuses a target that differs.
func (s *scenario) refuseBad(target *mongo.Database, collection string) {
	s.t.Helper()

	s.validate(target, collection, bson.D{{Key: "bad", Value: bson.D{{Key: "$exists", Value: false}}}})
}

func (s *scenario) validate(target *mongo.Database, collection string, rule bson.D) {
	s.t.Helper()
	require.NoError(s.t, target.RunCommand(s.t.Context(), bson.D{{Key: "collMod", Value: collection}, {Key: "validator", Value: rule}}).Err())
}

func (s *scenario) source() *mongo.Database { return s.world.Source.Client.Database(s.db) }
func (s *scenario) target() *mongo.Database { return s.world.Target.Client.Database(s.db) }

// beside is a database that is replicated too, for what is not traffic.
func (s *scenario) beside() string { return s.db + "_beside" }

// steady is the rate of the traffic, in changes per second: it leaves room to catch up on two cores while the services
// look for races.
const steady = 300

// sow prepares traffic that the seed alone decides.
func (s *scenario) sow() {
	s.t.Helper()

	if s.seed == 0 {
		s.seed = seed(s.t)
	}

	s.traffic = traffic.New(s.source(), traffic.Options{Seed: s.seed, Rate: s.rate, Schema: s.schema, Shelves: s.shelves, Told: s.told()})
	require.NoError(s.t, s.traffic.Prepare(s.t.Context()))
}

// write starts traffic and the recording of the target.
func (s *scenario) write() {
	s.t.Helper()

	s.sow()

	if folder := os.Getenv(recordVariable); folder != "" && s.recorder == nil && !s.alien {
		s.record(filepath.Join(folder, strings.ReplaceAll(s.t.Name(), "/", "-")+"-"+s.db))
	}

	var err error

	s.order, err = live.NewOrder(s.t.Context(), s.target(), s.traffic.Journal().Seen)
	require.NoError(s.t, err)

	s.replicate()

	s.end, s.running, s.watched = make(chan struct{}), make(chan error, 1), make(chan error, 1)

	go func() { s.running <- s.traffic.RunUntil(s.t.Context(), s.end) }()
	go func() { s.watched <- s.order.Run(s.t.Context()) }()
}

// supervise starts processors that were killed again, until the returned function is called.
func (s *scenario) supervise(services func() []*harness.Service) (stop func()) {
	s.t.Helper()

	ctx, cancel := context.WithCancel(s.t.Context())
	supervised := make(chan error, 1)

	go func() {
		supervised <- harness.Supervise(ctx, services, func(d harness.Death) { s.t.Logf("%s ended: %s", d.Service.Name, d.How) })
	}()

	return func() {
		cancel()
		require.NoError(s.t, <-supervised)
	}
}

// progress waits until this many more changes are applied: the relay works again.
func (s *scenario) progress(changes uint64) {
	s.t.Helper()

	from := s.await("an answer", func(*relayv1.Stats) bool { return true }).GetProcessedChanges()
	s.await("progress", func(sample *relayv1.Stats) bool { return sample.GetProcessedChanges() >= from+changes })
}

func (s *scenario) await(what string, condition func(*relayv1.Stats) bool) *relayv1.Stats {
	s.t.Helper()

	ctx, cancel := context.WithTimeout(s.t.Context(), max(patience, s.patience))
	defer cancel()

	sample, err := s.relay.Await(ctx, what, condition)
	require.NoError(s.t, err)

	return sample
}

// finish ends the traffic, waits until it is applied, and checks every invariant.
func (s *scenario) finish() {
	s.t.Helper()

	close(s.end)
	require.NoError(s.t, <-s.running)

	changes := s.traffic.Journal().Changes() + s.others
	sample := s.await("everything applied", harness.Applied(changes))

	require.NoError(s.t, s.order.Finish(s.t.Context()))
	require.NoError(s.t, <-s.watched)

	events, err := s.order.Verdict()
	require.NoError(s.t, err)
	require.NoError(s.t, live.Counters(sample, changes, s.failed))
	s.equal()
	s.judge()

	s.t.Logf("%d changes, %d writes on the target, latency %+v", changes, events, s.traffic.Journal().Latency())
}

func (s *scenario) equal() {
	s.t.Helper()

	result, err := live.Compare(s.t.Context(), s.source(), s.target())
	require.NoError(s.t, err)
	require.True(s.t, result.Equal(), "%d documents differ: %v", result.Different, result.Differences)
	require.Positive(s.t, result.Documents)

	if !s.ddl {
		return
	}

	differences, err := live.Definitions(s.t.Context(), s.source(), s.target())
	require.NoError(s.t, err)
	require.Empty(s.t, differences)
}

func (s *scenario) close() {
	ctx := context.WithoutCancel(s.t.Context())

	if s.t.Failed() && s.relay != nil {
		for _, service := range s.relay.Services() {
			s.t.Logf("the log of %s ends:\n%s", service.Name, service.LastWords())
		}
	}

	if s.recorder != nil {
		s.recorder.Abandon()
	}

	if s.relay != nil {
		require.NoError(s.t, s.relay.Stop(ctx))
	}

	if os.Getenv(mongotest.Variable) != "" {
		require.NoError(s.t, s.source().Drop(ctx))
		require.NoError(s.t, s.world.Source.Client.Database(s.beside()).Drop(ctx))
	}

	require.NoError(s.t, s.world.Stop(ctx))
}

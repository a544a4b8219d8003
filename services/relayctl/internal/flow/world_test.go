package flow_test

import (
	"context"
	"log/slog"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/require"
	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"

	"github.com/atlas-relay/atlas-relay/pkg/checkpoint"
	"github.com/atlas-relay/atlas-relay/pkg/mongotest"
	"github.com/atlas-relay/atlas-relay/pkg/natstest"
	"github.com/atlas-relay/atlas-relay/pkg/settings"
	"github.com/atlas-relay/atlas-relay/pkg/topology"
	"github.com/atlas-relay/atlas-relay/services/relayctl/internal/flow"
)

// world is a NATS of its own and the package's shared MongoDB as both source
// and target, told apart by an option. Each test has a database to replicate
// and a flow of its own.
type world struct {
	nats   *natstest.Server
	db     *mongo.Database
	target *mongo.Client
	env    map[string]string
}

func newWorld(t *testing.T) *world {
	t.Helper()

	n := natstest.New(t)
	server := mongotest.Shared(t)
	db := mongotest.DB(t)
	name := "f-" + bson.NewObjectID().Hex()
	target := server.Client(t)

	t.Cleanup(func() { _, _ = checkpoint.Delete(context.WithoutCancel(t.Context()), target, name) })

	return &world{nats: n, db: db, target: target, env: map[string]string{
		"FLOW":               name,
		"NATS_URL":           n.URL(),
		"SOURCE_URI":         server.URI().Reveal(),
		"TARGET_URI":         server.URI().Reveal() + "&appName=target",
		"INCLUDE_NAMESPACES": db.Name() + ".*",
		"STREAM_MAX_BYTES":   "64MiB",
	}}
}

func (w *world) flow() string { return w.env["FLOW"] }

// operator runs the commands of all tests.
var operator = flow.Operator{Name: "ann@example", Reason: "a test"}

// init runs Init with these variables more.
func (w *world) init(t *testing.T, more ...string) (*flow.Made, error) {
	t.Helper()

	for i := 0; i < len(more); i += 2 {
		w.env[more[i]] = more[i+1]
	}

	var s flow.InitSettings
	require.NoError(t, settings.Load(&s, w.env))

	set := make(map[string]bool)
	for name := range w.env {
		set[name] = true
	}

	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()

	return flow.Init(ctx, &s, set, operator, slog.New(slog.DiscardHandler))
}

func (w *world) show(t *testing.T) (*flow.Shown, error) {
	t.Helper()

	var s flow.ShowSettings
	require.NoError(t, settings.Load(&s, map[string]string{"FLOW": w.flow(), "NATS_URL": w.nats.URL()}))

	return flow.Show(t.Context(), &s, slog.New(slog.DiscardHandler))
}

func (w *world) open(t *testing.T) *topology.Stream {
	t.Helper()

	stream, err := topology.Open(t.Context(), w.nats.JetStream(t), w.flow())
	require.NoError(t, err)

	return stream
}

func requireRefused(t *testing.T, err error, contains ...string) {
	t.Helper()

	var refused *flow.RefusedError
	require.ErrorAs(t, err, &refused)
	require.Equal(t, 2, refused.ExitCode())
	require.NotEmpty(t, refused.NextStep())

	for _, text := range contains {
		require.Contains(t, err.Error()+refused.NextStep(), text)
	}
}

// fill has the stream take no message until the function that it returns was called.
func (w *world) fill(t *testing.T) (makeRoom func()) {
	t.Helper()

	_, live, err := w.open(t).State(t.Context())
	require.NoError(t, err)

	set := func(config jetstream.StreamConfig) {
		_, err := w.nats.JetStream(t).UpdateStream(t.Context(), config)
		require.NoError(t, err)
	}

	full := live
	full.MaxBytes = 1
	set(full)

	return func() { set(live) }
}

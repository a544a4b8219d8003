package flow_test

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo/options"

	"github.com/atlas-relay/atlas-relay/pkg/checkpoint"
	"github.com/atlas-relay/atlas-relay/pkg/mongodb"
	"github.com/atlas-relay/atlas-relay/pkg/mongotest"
	"github.com/atlas-relay/atlas-relay/pkg/natstest"
	"github.com/atlas-relay/atlas-relay/pkg/settings"
	"github.com/atlas-relay/atlas-relay/pkg/topology"
	"github.com/atlas-relay/atlas-relay/services/relayctl/internal/flow"
)

func TestInitRefusesExistingDocuments(t *testing.T) {
	t.Parallel()

	w := newWorld(t)
	insert(t, w, "x")

	_, err := w.init(t)
	requireRefused(t, err, w.db.Name()+".orders", "--without-existing", "mongodump", "mongorestore", "stop the writes")

	_, err = topology.Open(t.Context(), w.nats.JetStream(t), w.flow())
	require.ErrorIs(t, err, topology.ErrNoStream)

	made, err := w.init(t, "WITHOUT_EXISTING", "true")
	require.NoError(t, err)
	require.Contains(t, fmt.Sprint(made.Notes), w.db.Name()+".orders")
}

func TestInitRefusesWhatCannotBeRouted(t *testing.T) {
	t.Parallel()

	w := newWorld(t)
	require.NoError(t, w.db.CreateCollection(t.Context(), "log", options.CreateCollection().SetCapped(true).SetSizeInBytes(1<<20)))

	_, err := w.init(t, "DDL", "off")
	requireRefused(t, err, w.db.Name()+".log", "capped", "EXCLUDE_NAMESPACES")

	_, err = w.init(t, "EXCLUDE_NAMESPACES", w.db.Name()+".log")
	require.NoError(t, err)
	require.False(t, w.open(t).DDL)

	first, err := w.open(t).LastMarker(t.Context())
	require.NoError(t, err)

	marker, err := first.Marker()
	require.NoError(t, err)
	require.Empty(t, marker.GetPinned())
}

func TestInitRefusesCheckpointsWithoutStream(t *testing.T) {
	t.Parallel()

	w := newWorld(t)
	_, err := checkpoint.Checkpoints(w.target).InsertOne(t.Context(), checkpoint.Document{
		ID: checkpoint.ID(w.flow(), 0), Flow: w.flow(), Place: checkpoint.Place{ResumeToken: bson.Raw{5, 0, 0, 0, 0}},
	})
	require.NoError(t, err)

	_, err = w.init(t)
	requireRefused(t, err, "checkpoints of flow", "relayctl flow delete --yes")
}

func TestInitRefusesStandaloneSourcesOnly(t *testing.T) {
	t.Parallel()

	alone := mongotest.New(t, mongotest.Options{Standalone: true}).URI().Reveal()
	w := newWorld(t)
	target := w.env["TARGET_URI"]

	_, err := w.init(t, "SOURCE_URI", alone)
	requireRefused(t, err, "SOURCE_URI", "--replSet")

	_, err = w.init(t, "SOURCE_URI", target, "TARGET_URI", alone)
	require.NoError(t, err)
}

// TestInitRefusesSourcesThatDoNotTellNamesFromPaths: before MongoDB 6.1 an update of the field "home.town" and one of town in
// home are the same event.
func TestInitRefusesSourcesThatDoNotTellNamesFromPaths(t *testing.T) {
	t.Parallel()

	const wireVersion60, wireVersion70 = 17, 21

	old := mongodb.Hello{Topology: mongodb.ReplicaSet, Version: "6.0.20", MaxWireVersion: wireVersion60}
	requireRefused(t, flow.RefuseSource(old, nil), "6.0.20", "upgrade")

	old.MaxWireVersion = wireVersion70
	require.NoError(t, flow.RefuseSource(old, nil))
}

func TestInitTellsWhatIsWrongWithNATS(t *testing.T) {
	t.Parallel()

	w := newWorld(t)

	bare := natstest.Start(t, natstest.Options{WithoutJetStream: true})
	_, err := w.init(t, "NATS_URL", bare.URL())
	requireRefused(t, err, "no JetStream", "-js")

	locked := natstest.Start(t, natstest.Options{Username: "u", Password: "correct"})
	_, err = w.init(t, "NATS_URL", "nats://u:wrong-secret@"+locked.Addr())
	requireRefused(t, err, "credentials", "NATS_CREDS")
	require.NotContains(t, err.Error(), "wrong-secret")
}

func TestInitGivesUpWithExitCode3(t *testing.T) {
	t.Parallel()

	for _, variable := range []string{"NATS_URL", "SOURCE_URI", "TARGET_URI"} {
		t.Run(variable, func(t *testing.T) {
			t.Parallel()

			w := newWorld(t)
			scheme, _, _ := strings.Cut(w.env[variable], "://")
			w.env[variable] = scheme + "://127.0.0.1:1/"

			var s flow.InitSettings
			require.NoError(t, settings.Load(&s, w.env))

			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			defer cancel()

			_, err := flow.Init(ctx, &s, nil, operator, slog.New(slog.DiscardHandler))

			var unreachable *flow.UnreachableError
			require.ErrorAs(t, err, &unreachable)
			require.Equal(t, 3, unreachable.ExitCode())
			require.Contains(t, err.Error()+unreachable.NextStep(), variable)
		})
	}
}

// A misspelt host is told of at once, and given up on long before servers that are known; who says how long to wait means
// it.
func TestInitOfAnUnknownHost(t *testing.T) {
	t.Parallel()

	host := strings.Repeat("n", 64) + ".example" // no name of DNS is so long: nobody has to be asked

	for _, variable := range []string{"NATS_URL", "SOURCE_URI", "TARGET_URI"} {
		t.Run(variable, func(t *testing.T) {
			t.Parallel()

			w := newWorld(t)
			scheme, _, _ := strings.Cut(w.env[variable], "://")
			w.env[variable] = scheme + "://" + host + ":4/"

			var s flow.InitSettings
			require.NoError(t, settings.Load(&s, w.env))

			ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
			defer cancel()

			told := make(chan string, 100)
			waiting := flow.WithWaiting(ctx, flow.Waiting{Told: func(what, next string) { told <- what + "; " + next }})

			_, err := flow.Init(waiting, &s, nil, operator, slog.New(slog.DiscardHandler))
			require.NoError(t, ctx.Err(), "it does not wait to the end")

			var unreachable *flow.UnreachableError
			require.ErrorAs(t, err, &unreachable)
			require.Equal(t, 3, unreachable.ExitCode())
			require.Contains(t, err.Error(), "no such host: "+host)
			require.Contains(t, err.Error(), variable[:strings.Index(variable, "_")])
			require.Contains(t, unreachable.NextStep(), "getent hosts "+host)

			require.Contains(t, <-told, "no such host: "+host, "at once")
			require.Empty(t, told, "once")

			short, end := context.WithTimeout(ctx, 15*time.Second)
			defer end()

			_, err = flow.Init(flow.WithWaiting(short, flow.Waiting{ForNames: true}), &s, nil, operator, slog.New(slog.DiscardHandler))
			require.ErrorAs(t, err, &unreachable)
			require.ErrorIs(t, short.Err(), context.DeadlineExceeded)
		})
	}
}

func TestInitSaysWhenTheStoreIsTooSmall(t *testing.T) {
	t.Parallel()

	w := newWorld(t)
	small := natstest.Start(t, natstest.Options{MaxStore: 1 << 20})

	_, err := w.init(t, "NATS_URL", small.URL())
	requireRefused(t, err, "no room", "STREAM_MAX_BYTES")
}

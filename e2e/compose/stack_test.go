//go:build compose

package compose_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/atlas-relay/atlas-relay/e2e/harness"
	"github.com/atlas-relay/atlas-relay/e2e/standins"
	"github.com/atlas-relay/atlas-relay/pkg/mongodb"
	"github.com/atlas-relay/atlas-relay/pkg/settings"
	relayv1 "github.com/atlas-relay/atlas-relay/proto/relay/v1"
)

// patience bounds each wait; on an idle machine none lasts a tenth of it.
const patience = 15 * time.Minute

// upPatience bounds docker compose up, the build of four images included. Beside other work a build that compiles
// everything has been seen to take half an hour instead of four minutes.
const upPatience = 2 * time.Hour

// Where the compose file publishes what it runs.
const (
	sourceURI = "mongodb://127.0.0.1:27117/?directConnection=true&retryWrites=false"
	targetURI = "mongodb://127.0.0.1:27118/?directConnection=true"
	natsURL   = "nats://127.0.0.1:4222"
	statsAddr = "127.0.0.1:50051"
)

// flow is the name that the compose file gives it.
const flow = "atlas-to-local"

// stack is the project of the compose file, and clients of it.
type stack struct {
	docker   *harness.Docker
	compose  *harness.Compose
	standIns *standins.Set

	interrupt context.Context // ends with Ctrl-C

	built      bool
	changes    uint64 // that the source has acknowledged since the flow began
	source     *mongo.Client
	target     *mongo.Client
	statistics *harness.Statistics
}

// up is a stack that replicates, as docker compose up --wait left it. A test that failed left nobody knows what: the next
// one begins with empty volumes.
func up(t *testing.T) *stack {
	t.Helper()

	s := theStack
	s.up(t)

	t.Cleanup(func() {
		if t.Failed() {
			ctx := context.WithoutCancel(t.Context())

			t.Log(s.compose.Logs(ctx))
			require.NoError(t, s.reset(ctx))
		}
	})

	return s
}

// up runs make up, which builds, the first time, and docker compose up --wait later.
func (s *stack) up(t *testing.T) {
	t.Helper()

	ctx, cancel := s.building(t)
	defer cancel()

	var err error

	if s.built {
		_, err = s.compose.Run(ctx, "up", "--wait")
	} else {
		_, err = s.compose.Make(ctx, "up")
	}

	if err != nil {
		t.Log(s.compose.Logs(context.WithoutCancel(ctx)))
		require.NoError(t, errors.Join(err, s.reset(context.WithoutCancel(ctx))))
	}

	s.built = true

	require.NoError(t, s.connect())
}

// building is for what may build images: left alone, a build goes on after its engine.
func (s *stack) building(t *testing.T) (context.Context, context.CancelFunc) {
	t.Helper()

	ctx, cancel := context.WithTimeout(t.Context(), upPatience)
	context.AfterFunc(s.interrupt, cancel)

	return ctx, cancel
}

func (s *stack) connect() (err error) {
	if s.source != nil {
		return nil
	}

	if s.source, err = mongodb.Connect(settings.NewURI(sourceURI), mongodb.Options{}); err != nil {
		return err
	}

	if s.target, err = mongodb.Connect(settings.NewURI(targetURI), mongodb.Options{}); err != nil {
		return err
	}

	s.statistics, err = harness.NewStatistics(statsAddr, insecure.NewCredentials())

	return err
}

func (s *stack) disconnect(ctx context.Context) error {
	if s.source == nil {
		return nil
	}

	err := errors.Join(mongodb.Disconnect(ctx, s.source), mongodb.Disconnect(ctx, s.target), s.statistics.Close())
	s.source, s.target, s.statistics = nil, nil, nil

	return err
}

// reset ends the project and forgets its volumes. Its images go too, but not what building them left in the cache.
func (s *stack) reset(ctx context.Context) error {
	s.changes, s.built = 0, false
	clear(s.compose.Env)

	return errors.Join(s.disconnect(ctx), s.compose.Remove(ctx))
}

func (s *stack) close(ctx context.Context) error {
	err := errors.Join(s.reset(ctx), s.standIns.Remove(ctx))

	return errors.Join(err, s.nothingLeft(ctx), s.docker.Close(ctx))
}

// nothingLeft looks for what bears the name of the project.
func (s *stack) nothingLeft(ctx context.Context) error {
	label := "label=com.docker.compose.project=" + s.compose.Name
	asks := [][]string{
		{"container", "ls", "--all", "--quiet", "--filter", label},
		{"network", "ls", "--quiet", "--filter", label},
		{"volume", "ls", "--quiet", "--filter", label},
		{"image", "ls", "--quiet", "--filter", "reference=" + s.compose.Name + "*"},
	}

	var errs []error

	for _, ask := range asks {
		out, err := s.docker.Run(ctx, ask...)
		if err == nil && out != "" {
			err = fmt.Errorf("the test left a %s behind: %s", ask[0], out)
		}

		errs = append(errs, err)
	}

	return errors.Join(errs...)
}

// await waits for a sample that fulfils the condition.
func (s *stack) await(t *testing.T, what string, condition func(*relayv1.Stats) bool) *relayv1.Stats {
	t.Helper()

	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()

	sample, err := s.statistics.Await(ctx, what, condition)
	require.NoError(t, err)

	return sample
}

// awaitContainers waits until every container of a service fulfils the condition.
func (s *stack) awaitContainers(t *testing.T, service, what string, condition func(*harness.Container) bool) {
	t.Helper()

	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()

	require.NoError(t, s.compose.Await(ctx, service, service+" "+what, condition))
}

// arrives writes a document to a source and waits until the target has it. It is two changes: its collection is one. Both
// are in a database of their own, whose name it returns.
func (s *stack) arrives(t *testing.T, source *mongo.Client) (db string) {
	t.Helper()

	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()

	db = "probe_" + bson.NewObjectID().Hex()
	doc := bson.D{{Key: "_id", Value: 1}, {Key: "at", Value: time.Now()}}

	require.NoError(t, source.Database(db).CreateCollection(ctx, "documents"))
	_, err := source.Database(db).Collection("documents").InsertOne(ctx, doc)
	require.NoError(t, err)

	s.changes += 2

	want, err := source.Database(db).Collection("documents").FindOne(ctx, bson.D{{Key: "_id", Value: 1}}).Raw()
	require.NoError(t, err)

	var got bson.Raw

	err = harness.Await(ctx, 50*time.Millisecond, func(ctx context.Context) (bool, error) {
		got, err = s.target.Database(db).Collection("documents").FindOne(ctx, bson.D{{Key: "_id", Value: 1}}).Raw()
		if errors.Is(err, mongo.ErrNoDocuments) {
			return false, nil
		}

		return err == nil, err
	})
	require.NoError(t, err)
	require.Equal(t, want, got)

	return db
}

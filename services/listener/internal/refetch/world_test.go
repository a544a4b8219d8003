package refetch_test

import (
	"context"
	"log/slog"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.mongodb.org/mongo-driver/v2/bson"
	drvevent "go.mongodb.org/mongo-driver/v2/event"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.uber.org/goleak"

	"github.com/atlas-relay/atlas-relay/pkg/event"
	"github.com/atlas-relay/atlas-relay/pkg/mongodb"
	"github.com/atlas-relay/atlas-relay/pkg/mongotest"
	"github.com/atlas-relay/atlas-relay/pkg/natstest"
	client "github.com/atlas-relay/atlas-relay/pkg/refetch"
	"github.com/atlas-relay/atlas-relay/services/listener/internal/refetch"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(mongotest.Main(m)) }

const (
	flow     = "test"
	excluded = "secrets"
	patience = 30 * time.Second // most that any condition may take on a busy machine
)

// world is a source, a NATS server and a client of the flow.
type world struct {
	db     *mongo.Database // written to by the test
	nats   *natstest.Server
	client *client.Client
}

func newWorld(t *testing.T) *world {
	t.Helper()

	nats := natstest.Start(t, natstest.Options{WithoutJetStream: true})

	return &world{db: mongotest.DB(t), nats: nats, client: client.New(nats.Connect(t), flow)}
}

// listener is a running Responder.
type listener struct {
	*refetch.Responder

	active atomic.Bool
	stop   func() // returns when Work has returned
}

// listen runs a responder whose commands the monitor, when there is one, sees.
func (w *world) listen(t *testing.T, monitor *drvevent.CommandMonitor) *listener {
	t.Helper()

	return w.listenTo(t, mongotest.Shared(t), monitor)
}

func (w *world) listenTo(t *testing.T, server *mongotest.Server, monitor *drvevent.CommandMonitor) *listener {
	t.Helper()

	source, err := mongodb.Connect(server.URI(), mongodb.Options{ServerSelectionTimeout: 5 * time.Second, Monitor: monitor})
	require.NoError(t, err)
	t.Cleanup(func() { _ = mongodb.Disconnect(context.WithoutCancel(t.Context()), source) })

	filter, err := event.ParseFilter(nil, []string{w.db.Name() + "." + excluded})
	require.NoError(t, err)

	l := &listener{}
	l.active.Store(true)
	l.Responder = refetch.New(source, w.nats.Connect(t), slog.New(slog.DiscardHandler), refetch.Options{
		Flow: flow, Filter: filter, Active: l.active.Load, Poll: 5 * time.Millisecond,
	})

	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	done := make(chan error, 1)

	go func() { done <- l.Work(ctx, context.WithoutCancel(ctx)) }()

	stopped := false
	l.stop = func() {
		if stopped {
			return
		}

		stopped = true

		cancel()
		require.NoError(t, <-done)
	}
	t.Cleanup(l.stop)

	return l
}

func (w *world) ns(coll string) event.Namespace { return event.Namespace{DB: w.db.Name(), Coll: coll} }

// fetch asks until a listener answers.
func (w *world) fetch(t *testing.T, ns event.Namespace, id any, notBefore bson.Timestamp) (client.Image, error) {
	t.Helper()

	var (
		image client.Image
		err   error
		key   = raw(t, bson.D{{Key: "_id", Value: id}})
	)

	require.Eventually(t, func() bool {
		image, err = w.client.Fetch(t.Context(), ns, key, notBefore)

		return !isNoListener(err)
	}, patience, time.Millisecond)

	return image, err
}

func raw(t *testing.T, document any) bson.Raw {
	t.Helper()

	b, err := bson.Marshal(document)
	require.NoError(t, err)

	return b
}

// write runs a command in a session of its own and returns the operation time of what it wrote.
func (w *world) write(t *testing.T, do func(ctx context.Context) error) bson.Timestamp {
	t.Helper()

	session, err := w.db.Client().StartSession()
	require.NoError(t, err)

	ctx := mongo.NewSessionContext(context.WithoutCancel(t.Context()), session)
	defer session.EndSession(ctx)

	require.NoError(t, do(ctx))

	return *session.OperationTime()
}

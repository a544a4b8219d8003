package main

import (
	"context"
	"log/slog"
	"math/rand/v2"
	"os"
	"strconv"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/require"
	"go.mongodb.org/mongo-driver/v2/bson"
	"go.opentelemetry.io/otel/trace/noop"

	"github.com/atlas-relay/atlas-relay/pkg/checkpoint"
	"github.com/atlas-relay/atlas-relay/pkg/event"
	"github.com/atlas-relay/atlas-relay/pkg/refetch"
	"github.com/atlas-relay/atlas-relay/pkg/topology"
	"github.com/atlas-relay/atlas-relay/services/processor/internal/batch"
	"github.com/atlas-relay/atlas-relay/services/processor/internal/ownership"
	"github.com/atlas-relay/atlas-relay/services/processor/internal/park"
	"github.com/atlas-relay/atlas-relay/services/processor/internal/schema"
)

// step is a moment of making a schema change.
type step string

const (
	beforePrepare step = "before it is prepared"
	beforeClaim   step = "before it is claimed"
	beforeExecute step = "before the command"
	beforeCommit  step = "before the checkpoint"
)

func steps() []step { return []step{beforePrepare, beforeClaim, beforeExecute, beforeCommit} }

// hooked is the real executor; at is called at each step and may end the caller's contexts.
type hooked struct {
	*schema.Executor

	at func(step)
}

func (h *hooked) Prepare(ctx context.Context, c *schema.Change) (bson.Raw, error) {
	h.at(beforePrepare)
	defer h.at(beforeClaim)

	return h.Executor.Prepare(ctx, c)
}

func (h *hooked) Execute(ctx context.Context, c *schema.Change, prepared bson.Raw) error {
	h.at(beforeExecute)
	defer h.at(beforeCommit)

	return h.Executor.Execute(ctx, c, prepared)
}

// startOwner starts the part of a processor that owns partitions, with an executor of the test's. crash ends it at once,
// whatever it does.
func (w *world) startOwner(t *testing.T, name string, at func(step)) (crash func()) {
	t.Helper()

	nc := w.nats.Connect(t)
	js, err := jetstream.New(nc)
	require.NoError(t, err)

	owner := ownership.New(w.target, nc, js, newMeters(w.flow), slog.New(slog.DiscardHandler), ownership.Options{
		Flow: w.flow, Identity: ownership.Identity{ID: name, Host: "test", PID: 1}, LeaseTTL: testTTL,
		Limits:      batch.Limits{Size: 100, Bytes: 8 << 20, Idle: time.Second, MaxAge: time.Second, Eager: true},
		Concurrency: 8, MemoryBudget: 64 << 20,
		Park:    park.Policy{Retries: 5, Delays: []time.Duration{time.Second}, Together: 100, MaxEvents: 1000, MaxBytes: 64 << 20, MaxTotal: 1 << 30},
		Refetch: refetch.New(nc, w.flow), Schema: &hooked{schema.New(w.target, schema.Options{}), at},
		Tracer: noop.NewTracerProvider().Tracer(""), InitPoll: time.Second,
	})

	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))

	var running sync.WaitGroup

	running.Go(func() { _ = owner.Run(ctx, ctx) })
	t.Cleanup(func() {
		cancel()
		running.Wait()
	})

	return cancel
}

// TestOwnerOfPartition0DiesAtEveryStepOfASchemaChange: the next one makes it, or sees that it was made; either way once,
// and before the data behind it.
func TestOwnerOfPartition0DiesAtEveryStepOfASchemaChange(t *testing.T) {
	t.Parallel()

	for _, op := range []event.Operation{event.Drop, event.Rename, event.CreateIndexes, event.DropDatabase} {
		for _, at := range steps() {
			t.Run(string(op)+" "+string(at), func(t *testing.T) {
				t.Parallel()

				w := newWorld(t)
				w.init(t)

				ids := w.everywhere(t, 1)
				n := int64(len(ids))
				w.wave(t, ids, 1)

				var (
					once  sync.Once
					crash func()
				)

				started := make(chan struct{})
				crash = w.startOwner(t, "a", func(now step) {
					if now == at {
						<-started
						once.Do(crash)
					}
				})
				close(started)
				w.awaitSettled(t, checkpoint.Counters{Processed: n})

				switch op {
				case event.Rename:
					w.change(t, op, w.ns, to(event.Namespace{DB: w.ns.DB, Coll: "archive"})...)
				case event.CreateIndexes:
					w.change(t, op, w.ns, index("v_1", false))
				case event.DropDatabase:
					w.change(t, op, event.Namespace{DB: w.ns.DB})
				default:
					w.change(t, op, w.ns)
				}

				w.wave(t, ids[1:], 2)
				w.startOwner(t, "b", func(step) {})
				w.awaitSettled(t, checkpoint.Counters{Processed: 2 * n})

				switch op {
				case event.Rename:
					require.Equal(t, n, w.countIn(t, "archive"))
					require.Equal(t, n-1, w.countIn(t, w.ns.Coll))
				case event.CreateIndexes:
					require.Equal(t, n, w.countIn(t, w.ns.Coll))
					require.Equal(t, []string{"_id_", "v_1"}, w.indexNames(t, w.ns.Coll))
				default:
					require.Equal(t, n-1, w.countIn(t, w.ns.Coll))
				}
			})
		}
	}
}

// TestPartition0IsTakenOverInTheMiddleOfASchemaChange: whoever wakes up behind the new owner does not hit what that one
// has let through.
func TestPartition0IsTakenOverInTheMiddleOfASchemaChange(t *testing.T) {
	t.Parallel()

	w := newWorld(t)
	w.init(t)

	ids := w.everywhere(t, 1)
	n := int64(len(ids))
	w.wave(t, ids, 1)

	var once sync.Once

	asleep, wake := make(chan struct{}), make(chan struct{})
	late := func(now step) {
		if now == beforeExecute {
			once.Do(func() {
				close(asleep)
				<-wake
			})
		}
	}

	w.startOwner(t, "a", late)
	w.awaitSettled(t, checkpoint.Counters{Processed: n})
	w.change(t, event.Drop, w.ns)
	w.wave(t, ids, 2)
	<-asleep

	// Its lease of partition 0 goes to another.
	w.startOwner(t, "b", func(step) {})

	leases, err := w.js.KeyValue(t.Context(), topology.OwnersBucket)
	require.NoError(t, err)

	require.Eventually(t, func() bool {
		_ = leases.Delete(t.Context(), topology.PartitionKey(w.flow, 0))

		return w.settled(t).Processed == 2*n+1
	}, patience, 500*time.Millisecond)
	close(wake)
	w.insert(t, ids[0][0])
	w.awaitSettled(t, checkpoint.Counters{Processed: 2*n + 2})
	require.Equal(t, n, w.countIn(t, w.ns.Coll))
}

// TestSchemaChangesWhileProcessorsAreKilled kills them at random moments, of changes and of data.
func TestSchemaChangesWhileProcessorsAreKilled(t *testing.T) {
	t.Parallel()

	seed := rand.Uint64()
	if given := os.Getenv("SCHEMA_SEED"); given != "" {
		var err error
		seed, err = strconv.ParseUint(given, 10, 64)
		require.NoError(t, err)
	}

	t.Logf("SCHEMA_SEED=%d", seed)

	r := rand.New(rand.NewPCG(seed, 0))
	w := newWorld(t)
	w.init(t)

	ttl := map[string]string{"LEASE_TTL": testTTL.String()}
	children := []*child{w.startChild(t, ttl), w.startChild(t, ttl), w.startChild(t, ttl)}
	ids, archive := w.everywhere(t, 2), event.Namespace{DB: w.ns.DB, Coll: "archive"}
	events := int64(0)

	for round := range 6 {
		w.wave(t, ids, round)
		w.change(t, event.CreateIndexes, w.ns, index("v_1", false))
		w.change(t, event.Drop, archive)
		w.change(t, event.Rename, w.ns, to(archive)...)
		w.wave(t, ids[8:], round)
		events += int64(2*len(ids) + 3 + 2*(len(ids)-8))

		// Somewhere on the way.
		want := w.settled(t).Processed + r.Int64N(events)
		require.Eventually(t, func() bool { return w.settled(t).Processed >= min(want, events) }, patience, time.Millisecond)

		i := r.IntN(len(children))
		children[i].signal(t, syscall.SIGKILL)
		children[i] = w.startChild(t, ttl)
	}

	w.awaitSettled(t, checkpoint.Counters{Processed: events})
	require.Equal(t, int64(2*len(ids)), w.countIn(t, archive.Coll))
	require.Equal(t, int64(2*(len(ids)-8)), w.countIn(t, w.ns.Coll))
	require.Equal(t, []string{"_id_", "v_1"}, w.indexNames(t, archive.Coll))
}

package main

import (
	"testing"

	"github.com/nats-io/nats.go"
	"github.com/stretchr/testify/require"
	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"

	"github.com/atlas-relay/atlas-relay/pkg/checkpoint"
	"github.com/atlas-relay/atlas-relay/pkg/event"
	"github.com/atlas-relay/atlas-relay/pkg/mongotest"
	"github.com/atlas-relay/atlas-relay/pkg/parked"
	"github.com/atlas-relay/atlas-relay/pkg/refetch"
)

// TestTargetRoleIsEnough runs all that a processor does with a user who has the role of deploy/mongodb and nothing
// else. The server enforces it, and what was sent tells that no right is missing by mongod's rules, and none too many.
func TestTargetRoleIsEnough(t *testing.T) { //nolint:tparallel // what was sent is judged when all scenarios have ended
	t.Parallel()

	const file = "../../deploy/mongodb/target-role.js"

	server := mongotest.New(t, mongotest.Options{Username: "root", Password: "root"})
	root, wire := server.Client(t), server.NewWire(t)
	uri := wire.Through(server.UserWith(t, root, file))

	t.Run("scenarios", func(t *testing.T) {
		for name, scenario := range map[string]func(*testing.T, *world){
			"changes":       changesOfEveryKind,
			"handed_over":   handedOver,
			"refetched":     missingDocumentIsRefetched,
			"unique_index":  uniqueIndexDecides,
			"replayed":      deadLetterIsReplayedWhenAnOperatorSaysSo,
			"discarded":     discardedLetterLetsTheDocumentGoOn,
			"superseded":    laterImageSupersedesADeadLetter,
			"large":         largeEventIsParkedInChunks,
			"taken_over":    parkedEventsArePending,
			"records_taken": recordsSomebodyDeletedStopThePartition,
			"schema":        schemaChangesOfEveryKind,
			"dropped":       whatWaitsBeforeADropIsSettledByIt,
		} {
			t.Run(name, func(t *testing.T) {
				t.Parallel()

				w := newWorldOn(t, uri.Reveal(), root.Database("shop_"+name))
				w.init(t)
				scenario(t, w)
			})
		}
	})

	mongotest.RequireExact(t, mongotest.Role(t, file), wire.Commands())
}

func changesOfEveryKind(t *testing.T, w *world) {
	t.Helper()

	w.start(t, nil).awaitReady(t)
	w.insert(t, "a", bson.E{Key: "v", Value: 1})
	w.insert(t, "b")
	w.set(t, "a", bson.E{Key: "v", Value: 2})
	w.publish(t, event.Replace, "a", bson.E{Key: "fullDocument", Value: bson.D{{Key: "_id", Value: "a"}, {Key: "v", Value: 3}}})
	w.publish(t, event.Delete, "b")
	w.publish(t, "createIndexes", nil)
	w.mark(t)
	w.awaitSettled(t, checkpoint.Counters{Processed: 5, Skipped: 1})
	require.Equal(t, marshal(t, bson.D{{Key: "_id", Value: "a"}, {Key: "v", Value: 3}}), w.document(t, "a"))

	unsupported, err := checkpoint.LoadUnsupported(t.Context(), w.target, w.flow)
	require.NoError(t, err)
	require.Len(t, unsupported, 1)
}

func handedOver(t *testing.T, w *world) {
	t.Helper()

	first := w.start(t, nil)
	first.awaitReady(t)
	w.insert(t, 1)
	w.awaitSettled(t, checkpoint.Counters{Processed: 1})
	w.start(t, nil)
	require.NoError(t, first.end())
	w.insert(t, 2)
	w.awaitSettled(t, checkpoint.Counters{Processed: 2})
}

// missingDocumentIsRefetched answers as a listener does.
func missingDocumentIsRefetched(t *testing.T, w *world) {
	t.Helper()

	image := refetch.Image{Document: marshal(t, bson.D{{Key: "_id", Value: 1}, {Key: "v", Value: 9}}), Time: bson.Timestamp{T: 1 << 31}}
	nc := w.nats.Connect(t)

	_, err := nc.Subscribe(refetch.Subject(w.flow), func(m *nats.Msg) {
		for _, part := range refetch.EncodeImage(m.Reply, 1, image, 1<<19) {
			_ = nc.PublishMsg(part)
		}
	})
	require.NoError(t, err)

	w.set(t, 1, bson.E{Key: "v", Value: 2})
	w.start(t, nil)
	w.awaitSettled(t, checkpoint.Counters{Processed: 1})
	require.Equal(t, image.Document, w.document(t, 1))
}

// uniqueIndexDecides: the second document waits until the first is gone.
func uniqueIndexDecides(t *testing.T, w *world) {
	t.Helper()

	_, err := w.target.Database(w.ns.DB).Collection(w.ns.Coll).Indexes().CreateOne(t.Context(),
		mongo.IndexModel{Keys: bson.D{{Key: "u", Value: 1}}, Options: options.Index().SetUnique(true)})
	require.NoError(t, err)

	one := w.ids(t, 1, 2)
	w.insert(t, one[0], bson.E{Key: "u", Value: 1})
	w.insert(t, one[1], bson.E{Key: "u", Value: 1})
	w.start(t, impatient("MAX_RETRIES", "100", "BYPASS_VALIDATION", "true"))
	w.awaitRecord(t, parked.Waiting)
	w.publish(t, event.Delete, one[0])
	w.awaitSettled(t, checkpoint.Counters{Processed: 3})
	require.NotNil(t, w.document(t, one[1]))
}

func schemaChangesOfEveryKind(t *testing.T, w *world) {
	t.Helper()
	w.start(t, nil).awaitReady(t)

	archive, other := event.Namespace{DB: w.ns.DB, Coll: "archive"}, event.Namespace{DB: w.ns.DB + "_other", Coll: "archive"}

	w.change(t, event.Create, w.ns, bson.E{Key: "operationDescription", Value: bson.D{{Key: "validator", Value: bson.D{}}}})
	w.insert(t, 1)
	w.change(t, event.CreateIndexes, w.ns, index("v_1", false))
	w.change(t, event.DropIndexes, w.ns, index("v_1", false))
	w.change(t, event.Modify, w.ns, bson.E{Key: "operationDescription", Value: bson.D{{Key: "validationLevel", Value: "off"}}})
	w.change(t, event.Rename, w.ns, to(archive)...)
	w.change(t, event.Create, archive)
	w.change(t, event.Drop, archive)
	w.insert(t, 2)
	w.change(t, event.Create, other)
	w.change(t, event.DropDatabase, event.Namespace{DB: other.DB})
	w.awaitSettled(t, checkpoint.Counters{Processed: 11})
}

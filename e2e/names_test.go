package e2e_test

import (
	"strings"
	"testing"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/require"
	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/atlas-relay/atlas-relay/e2e/history"
	"github.com/atlas-relay/atlas-relay/e2e/verify"
	"github.com/atlas-relay/atlas-relay/pkg/checkpoint"
	"github.com/atlas-relay/atlas-relay/pkg/event"
	"github.com/atlas-relay/atlas-relay/pkg/parked"
)

// TestCheckerKnowsTheNamesOfTheRelay: the checker repeats them, since it takes nothing from the services.
func TestCheckerKnowsTheNamesOfTheRelay(t *testing.T) {
	t.Parallel()

	for theirs, ours := range map[string]string{
		checkpoint.Database: verify.Database, checkpoint.Collection: verify.Checkpoints, parked.Collection: verify.Parked, parked.Refetched: verify.Refetched,
		string(parked.Waiting): verify.Waiting, string(parked.Dead): verify.Dead, string(parked.Intended): verify.Intended,
		event.HeaderStream: verify.HeaderStream, event.HeaderGeneration: verify.HeaderGeneration, event.HeaderWriter: verify.HeaderWriter,
		event.HeaderPosition: verify.HeaderPosition, event.HeaderResumeToken: verify.HeaderToken, event.HeaderEvent: verify.HeaderEvent,
		event.HeaderSkipped: verify.HeaderSkipped, event.HeaderCount: verify.HeaderCount, event.HeaderPart: verify.HeaderPart,
		event.HeaderSize: verify.HeaderSize, event.HeaderAttempt: verify.HeaderAttempt,
	} {
		require.Equal(t, theirs, ours)
	}

	m := event.Message{Kind: event.KindEvent, StreamID: "S", Namespace: event.Namespace{DB: "d", Coll: "c"}, Part: 1, Parts: 1, Attempt: 1, Payload: []byte{0}}
	sent := event.Encode("test", &m, "before")
	require.Equal(t, m.ID(), sent.Header.Get(verify.HeaderID))
	require.Equal(t, "before", sent.Header.Get(verify.HeaderExpectedID))
	require.Equal(t, "cdc.test.00.d.c", sent.Subject)
	require.Equal(t, jetstream.ExpectedLastSeqHeader, verify.HeaderExpectedSequence)

	id, err := bson.Marshal(bson.D{{Key: "_id", Value: 1}})
	require.NoError(t, err)

	held := checkpoint.Document{Place: checkpoint.Place{ResumeToken: id, Position: event.Position{T: 1, I: 2, Ordinal: 3}}}
	hasFields(t, held, verify.FieldEpoch, verify.FieldOwner, verify.FieldCommits, verify.FieldStreamID, verify.FieldGeneration,
		verify.FieldSequence, verify.FieldEvent, verify.FieldCount, verify.FieldT, verify.FieldI, verify.FieldOrdinal)
	require.Equal(t, "flow/03", checkpoint.ID("flow", 3))

	hasFields(t, parked.Record{DocumentKey: id, Events: 1, Until: event.Position{T: 1}}, verify.FieldDB, verify.FieldColl, verify.FieldDocumentKey,
		verify.FieldState, verify.FieldCounted, verify.FieldEvents, verify.FieldUntil, verify.FieldAt)
	hasFields(t, parked.Covered{DocumentKey: id}, verify.FieldKey, verify.FieldDocumentKey, verify.FieldTime)

	meta := history.Meta{}
	require.False(t, meta.Includes(checkpoint.Database+"."+checkpoint.Collection))
}

func hasFields(t *testing.T, document any, paths ...string) {
	t.Helper()

	raw, err := bson.Marshal(document)
	require.NoError(t, err)

	for _, path := range paths {
		_, err := bson.Raw(raw).LookupErr(strings.Split(path, ".")...)
		require.NoError(t, err, path)
	}
}

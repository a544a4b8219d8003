package main

import (
	"encoding/binary"
	"path/filepath"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
	"go.mongodb.org/mongo-driver/v2/bson"
)

func raw(t *testing.T, doc bson.D) bson.Raw {
	t.Helper()

	content, err := bson.Marshal(doc)
	require.NoError(t, err)

	return content
}

// hello is what the server behind answers.
func hello(t *testing.T) bson.Raw {
	t.Helper()

	return raw(t, bson.D{
		{Key: "isWritablePrimary", Value: true},
		{Key: "hosts", Value: bson.A{"127.0.0.1:27018"}},
		{Key: "setName", Value: "secantus"},
		{Key: "me", Value: "127.0.0.1:27018"},
		{Key: "maxWireVersion", Value: 27},
	})
}

// TestMemberIsInitiatedOnce: no primary before replSetInitiate, then for good the name and address that it was given.
func TestMemberIsInitiatedOnce(t *testing.T) {
	t.Parallel()

	file := filepath.Join(t.TempDir(), "member.json")

	m, err := openMember("source", file)
	require.NoError(t, err)

	require.Equal(t, notYetInitialized, lookup(t, m.answer(raw(t, bson.D{{Key: "replSetGetStatus", Value: 1}})), "code"))

	before := m.introduce(hello(t))
	require.Equal(t, false, lookup(t, before, "isWritablePrimary"))
	require.Nil(t, lookup(t, before, "setName"))
	require.Nil(t, lookup(t, before, "hosts"))

	initiate := func(set, host string) bson.D {
		return m.answer(raw(t, bson.D{{Key: "replSetInitiate", Value: bson.D{
			{Key: "_id", Value: set}, {Key: "members", Value: bson.A{bson.D{{Key: "_id", Value: 0}, {Key: "host", Value: host}}}},
		}}}))
	}

	require.Equal(t, invalidConfiguration, lookup(t, initiate("another", "source:27017"), "code"))
	require.InDelta(t, 1.0, lookup(t, initiate("source", "source:27017"), "ok"), 0)
	require.Equal(t, alreadyInitialized, lookup(t, initiate("source", "source:27017"), "code"))

	m, err = openMember("source", file)
	require.NoError(t, err)

	after := m.introduce(hello(t))
	require.Equal(t, true, lookup(t, after, "isWritablePrimary"))
	require.Equal(t, "source", lookup(t, after, "setName"))
	require.Equal(t, bson.A{"source:27017"}, lookup(t, after, "hosts"))
	require.EqualValues(t, 27, lookup(t, after, "maxWireVersion"))

	require.Nil(t, m.introduce(raw(t, bson.D{{Key: "setName", Value: "a field of somebody's document"}})))
	require.Nil(t, m.answer(raw(t, bson.D{{Key: "find", Value: "replSetInitiate"}})))
}

// TestMessagesKeepTheirSize: a message that is changed says how long it is, and one that is not is the same.
func TestMessagesKeepTheirSize(t *testing.T) {
	t.Parallel()

	m := &member{set: "source", host: "source:27017"}

	head := make([]byte, messageDocument)
	binary.LittleEndian.PutUint32(head[12:], opMsg)

	changed := m.answered(sized(slices.Concat(head, hello(t))))
	require.EqualValues(t, len(changed), binary.LittleEndian.Uint32(changed))
	require.Equal(t, "source", bson.Raw(changed[messageDocument:]).Lookup("setName").StringValue())

	other := sized(slices.Concat(head, raw(t, bson.D{{Key: "ok", Value: 1}})))
	require.Equal(t, other, m.answered(other))
}

func lookup(t *testing.T, doc bson.D, key string) any {
	t.Helper()

	for _, e := range doc {
		if e.Key == key {
			return e.Value
		}
	}

	return nil
}

package changestream_test

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.uber.org/goleak"

	"github.com/atlas-relay/atlas-relay/pkg/mongodb"
	"github.com/atlas-relay/atlas-relay/pkg/mongotest"
	"github.com/atlas-relay/atlas-relay/services/listener/internal/changestream"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var quick = changestream.Options{MaxAwait: 200 * time.Millisecond}

func newSource(t *testing.T, o mongotest.Options) *mongo.Client {
	t.Helper()

	client, err := mongodb.Connect(mongotest.New(t, o).URI(), mongodb.Options{})
	require.NoError(t, err)
	t.Cleanup(func() { _ = mongodb.Disconnect(context.WithoutCancel(t.Context()), client) })

	return client
}

// present returns a token from which all later events follow.
func present(t *testing.T, source *mongo.Client) bson.Raw {
	t.Helper()

	cs, err := source.Watch(t.Context(), mongo.Pipeline{})
	require.NoError(t, err)

	defer cs.Close(t.Context())

	return append(bson.Raw(nil), cs.ResumeToken()...)
}

func insert(t *testing.T, source *mongo.Client, n int) {
	t.Helper()

	documents := make([]any, n)
	for i := range documents {
		documents[i] = bson.D{{Key: "_id", Value: int32(i)}}
	}

	_, err := source.Database("shop").Collection("orders").InsertMany(t.Context(), documents)
	require.NoError(t, err)
}

func open(t *testing.T, source *mongo.Client, after bson.Raw) *changestream.Stream {
	t.Helper()

	s, err := changestream.Open(t.Context(), source, after, quick)
	require.NoError(t, err)
	t.Cleanup(func() { _ = s.Close(context.WithoutCancel(t.Context())) })

	return s
}

// TestEveryTokenResumesExactly reopens the stream after every change it gave,
// idle ones included, and expects the next event and no other.
func TestEveryTokenResumesExactly(t *testing.T) {
	t.Parallel()

	source := newSource(t, mongotest.Options{})
	token := present(t, source)

	insert(t, source, 10)

	var (
		tokens []bson.Raw
		events [][]byte
		next   []int // index of the event that follows tokens[i]
	)

	for s := open(t, source, token); len(tokens) < 13; {
		change, err := s.Next(t.Context())
		require.NoError(t, err)

		if change.Event != nil {
			events = append(events, change.Event.Raw)
		}

		tokens = append(tokens, change.Token)
		next = append(next, len(events))
	}

	require.Len(t, events, 11, "a collection and ten documents")

	for i, token := range tokens {
		s := open(t, source, token)

		change, err := s.Next(t.Context())
		require.NoError(t, err)

		if next[i] == len(events) {
			require.Nil(t, change.Event)
		} else {
			require.NotNil(t, change.Event, "idle although event %d follows", next[i])
			require.Equal(t, events[next[i]], []byte(change.Event.Raw))
		}
	}
}

func TestDryMarksTheEndOfAReply(t *testing.T) {
	t.Parallel()

	source := newSource(t, mongotest.Options{})
	token := present(t, source)

	insert(t, source, 10)

	s := open(t, source, token)

	for i := range 11 {
		change, err := s.Next(t.Context())
		require.NoError(t, err)
		require.NotNil(t, change.Event)
		require.Equal(t, i == 10, change.Dry)
	}
}

func TestOpenSaysThatHistoryIsLost(t *testing.T) {
	t.Parallel()

	source := newSource(t, mongotest.Options{OplogMaxEntries: 100})
	token := present(t, source)

	for range 30 {
		insert(t, source, 1000)
		require.NoError(t, source.Database("shop").Collection("orders").Drop(t.Context()))
	}

	s, err := changestream.Open(t.Context(), source, token, quick)
	if err == nil {
		_, err = s.Next(t.Context()) // mongod says so at the first request
		require.NoError(t, s.Close(t.Context()))
	}

	require.True(t, mongodb.IsHistoryLost(err), "%v", err)
}

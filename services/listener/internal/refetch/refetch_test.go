package refetch_test

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/stretchr/testify/require"
	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/atlas-relay/atlas-relay/pkg/event"
	"github.com/atlas-relay/atlas-relay/pkg/mongotest"
	client "github.com/atlas-relay/atlas-relay/pkg/refetch"
	"github.com/atlas-relay/atlas-relay/services/listener/internal/refetch"
)

func isNoListener(err error) bool { return errors.Is(err, client.ErrNoListener) }

func TestPresentAndAbsent(t *testing.T) {
	t.Parallel()

	w := newWorld(t)
	l := w.listen(t, nil)
	document := raw(t, bson.D{{Key: "_id", Value: int32(7)}, {Key: "price", Value: 12.5}})

	written := w.write(t, func(ctx context.Context) error {
		_, err := w.db.Collection("orders").InsertOne(ctx, document)

		return err
	})

	image, err := w.fetch(t, w.ns("orders"), int64(7), written)
	require.NoError(t, err)
	require.Equal(t, document, image.Document)
	require.GreaterOrEqual(t, image.Time.Compare(written), 0)

	deleted := w.write(t, func(ctx context.Context) error {
		_, err := w.db.Collection("orders").DeleteOne(ctx, bson.D{{Key: "_id", Value: 7}})

		return err
	})

	image, err = w.fetch(t, w.ns("orders"), int64(7), deleted)
	require.NoError(t, err)
	require.Nil(t, image.Document)
	require.GreaterOrEqual(t, image.Time.Compare(deleted), 0)

	image, err = w.fetch(t, w.ns("neverMade"), 1, bson.Timestamp{})
	require.NoError(t, err)
	require.Nil(t, image.Document)

	l.stop()
	require.Equal(t, uint64(1), l.Counts()[refetch.Present])
	require.Equal(t, uint64(2), l.Counts()[refetch.Absent])
}

// TestLargestDocuments fetches as many documents of 16 MiB at a time as a client may, each in 17 messages.
func TestLargestDocuments(t *testing.T) {
	t.Parallel()

	w := newWorld(t)
	w.listen(t, nil)

	const around = 25 // bytes that are not text

	document := raw(t, bson.D{{Key: "_id", Value: int32(7)}, {Key: "text", Value: strings.Repeat("x", 16<<20-around)}})
	if len(document) != 16<<20 { // no assertion that would print it
		t.Fatal(len(document))
	}

	_, err := w.db.Collection("large").InsertOne(t.Context(), document)
	require.NoError(t, err)

	image, err := w.fetch(t, w.ns("large"), 7, bson.Timestamp{})
	require.NoError(t, err)

	if !bytes.Equal(document, image.Document) {
		t.Fatal("another document, of bytes:", len(image.Document))
	}

	var fetches sync.WaitGroup
	for range 6 {
		fetches.Go(func() {
			image, err := w.client.Fetch(t.Context(), w.ns("large"), raw(t, bson.D{{Key: "_id", Value: 7}}), bson.Timestamp{})
			if err != nil || !bytes.Equal(document, image.Document) {
				t.Error(err, len(image.Document))
			}
		})
	}

	fetches.Wait()
}

func TestIDsOfEveryKind(t *testing.T) {
	t.Parallel()

	w := newWorld(t)
	w.listen(t, nil)

	var deep any = "core"
	for range 40 {
		deep = bson.D{{Key: "in", Value: deep}, {Key: "n", Value: int64(1)}}
	}

	ids := []any{
		bson.NewObjectID(), "text", int32(1), 2.5, true, nil,
		bson.MinKey{},
		bson.MaxKey{},
		bson.D{{Key: "a", Value: 1}, {Key: "b", Value: "2"}},
		bson.D{{Key: "b", Value: "2"}, {Key: "a", Value: 1}},
		bson.D{},
		deep,
		bson.Binary{Subtype: 4, Data: make([]byte, 16)},
		bson.NewDateTimeFromTime(time.UnixMilli(1e12)),
		bson.Timestamp{T: 5, I: 6},
		strings.Repeat("long ", 100_000),
	}

	for i, id := range ids {
		_, err := w.db.Collection("kinds").InsertOne(t.Context(), bson.D{{Key: "_id", Value: id}, {Key: "i", Value: i}})
		require.NoError(t, err)
	}

	for i, id := range ids {
		image, err := w.fetch(t, w.ns("kinds"), id, bson.Timestamp{})
		require.NoError(t, err, "%T", id)
		require.NotNil(t, image.Document, "%T", id)
		require.Equal(t, int32(i), image.Document.Lookup("i").Int32(), "%T", id)
	}

	// Neither an operator nor a pattern.
	for _, id := range []any{bson.D{{Key: "$gt", Value: int32(0)}}, bson.Regex{Pattern: "te.t"}} {
		image, err := w.fetch(t, w.ns("kinds"), id, bson.Timestamp{})
		require.NoError(t, err, "%T", id)
		require.Nil(t, image.Document, "%T", id)
	}
}

func TestRefused(t *testing.T) {
	t.Parallel()

	w := newWorld(t)
	l := w.listen(t, nil)

	refused := []event.Namespace{
		w.ns(excluded), w.ns("system.views"), w.ns(""),
		{},
		{Coll: "orders"},
		{DB: "admin", Coll: "system.users"},
		{DB: "local", Coll: "oplog.rs"},
		{DB: "config", Coll: "transactions"},
		{DB: "atlas_relay", Coll: "checkpoints"},
	}

	for _, ns := range refused {
		_, err := w.fetch(t, ns, 1, bson.Timestamp{})

		var refusal *client.ReadError
		require.ErrorAs(t, err, &refusal, "%s", ns)
		require.False(t, refusal.Transient)
	}

	l.stop()
	require.Equal(t, uint64(len(refused)), l.Counts()[refetch.Refused])
}

// TestRequestsOfStrangers sends what no client sends.
func TestRequestsOfStrangers(t *testing.T) {
	t.Parallel()

	w := newWorld(t)
	l := w.listen(t, nil)
	nc := w.nats.Connect(t)

	_, err := w.fetch(t, w.ns("orders"), 1, bson.Timestamp{}) // it listens
	require.NoError(t, err)

	stream, err := nc.SubscribeSync("cdc.>")
	require.NoError(t, err)

	request := client.Request{Namespace: w.ns("orders"), DocumentKey: raw(t, bson.D{{Key: "_id", Value: 1}}), Patience: time.Minute}
	payload, err := request.Encode()
	require.NoError(t, err)

	// The listener's right to publish is not lent.
	require.NoError(t, nc.PublishRequest(client.Subject(flow), "cdc.test.00.shop.orders", payload))
	require.NoError(t, nc.Publish(client.Subject(flow), payload)) // no reply wanted
	require.Eventually(t, func() bool { return l.Counts()[refetch.Refused] == 2 }, patience, time.Millisecond)

	for _, payload := range [][]byte{nil, []byte("SELECT"), cutKey(t, request)} {
		_, err := nc.RequestWithContext(t.Context(), client.Subject(flow), payload)
		require.NoError(t, err)
	}

	require.Equal(t, uint64(5), l.Counts()[refetch.Refused])

	request.Patience = -time.Second
	payload, err = request.Encode()
	require.NoError(t, err)
	require.NoError(t, nc.PublishRequest(client.Subject(flow), nc.NewInbox(), payload))
	require.Eventually(t, func() bool { return l.Counts()[refetch.Abandoned] == 1 }, patience, time.Millisecond)

	pending, _, err := stream.Pending()
	require.NoError(t, err)
	require.Zero(t, pending)
}

func cutKey(t *testing.T, request client.Request) []byte {
	t.Helper()

	request.DocumentKey = request.DocumentKey[:len(request.DocumentKey)-3]
	payload, err := request.Encode()
	require.NoError(t, err)

	return payload
}

// TestStandbysAreSilent follows the state of the capture.
func TestStandbysAreSilent(t *testing.T) {
	t.Parallel()

	w := newWorld(t)
	l := w.listen(t, nil)

	_, err := w.fetch(t, w.ns("orders"), 1, bson.Timestamp{})
	require.NoError(t, err)

	key := raw(t, bson.D{{Key: "_id", Value: 1}})
	silent := func() bool {
		_, err := w.client.Fetch(t.Context(), w.ns("orders"), key, bson.Timestamp{})

		return errors.Is(err, nats.ErrNoResponders)
	}

	l.active.Store(false)
	require.Eventually(t, silent, patience, time.Millisecond)

	l.active.Store(true)

	_, err = w.fetch(t, w.ns("orders"), 1, bson.Timestamp{})
	require.NoError(t, err)

	l.stop()
	require.Eventually(t, silent, patience, time.Millisecond) // the server hears of it later than we
}

// TestTwoActiveListeners both answer; the asker is served once each time.
func TestTwoActiveListeners(t *testing.T) {
	t.Parallel()

	w := newWorld(t)
	a, b := w.listen(t, nil), w.listen(t, nil)

	const asked = 20

	for range asked {
		_, err := w.fetch(t, w.ns("orders"), 1, bson.Timestamp{})
		require.NoError(t, err)
	}

	a.stop()
	b.stop()
	require.GreaterOrEqual(t, a.Counts()[refetch.Absent]+b.Counts()[refetch.Absent], uint64(asked))
}

// TestStuckListenerKeepsNoRequests: one that was the active one and does not know better yet takes nothing from the
// present one.
func TestStuckListenerKeepsNoRequests(t *testing.T) {
	t.Parallel()

	w := newWorld(t)
	server := mongotest.New(t, mongotest.Options{})
	ask := func() error {
		_, err := w.fetch(t, w.ns("orders"), 1, bson.Timestamp{})

		return err
	}

	stuck := w.listenTo(t, server, nil)
	require.NoError(t, ask())

	healthy := w.listen(t, nil)
	require.Eventually(t, func() bool { return ask() == nil && healthy.Counts()[refetch.Absent] > 0 }, patience, time.Millisecond)
	require.NoError(t, server.Freeze(t.Context()))

	for stuck.Counts()[refetch.Busy] < 3 { // more than it can hold
		require.NoError(t, ask())
	}

	require.NoError(t, server.Thaw())
}

func TestSourceAwayIsTransient(t *testing.T) {
	t.Parallel()

	w := newWorld(t)
	server := mongotest.New(t, mongotest.Options{})
	l := w.listenTo(t, server, nil)

	_, err := w.fetch(t, w.ns("orders"), 1, bson.Timestamp{})
	require.NoError(t, err)
	require.NoError(t, server.Kill())

	_, err = w.fetch(t, w.ns("orders"), "hunter2", bson.Timestamp{})

	var failed *client.ReadError
	require.ErrorAs(t, err, &failed)
	require.True(t, failed.Transient, failed.Reason)
	require.NotContains(t, err.Error(), "hunter2")
	require.Equal(t, uint64(1), l.Counts()[refetch.Failed])
}

// TestSourceThatHangs asks more than can be read at a time of a source that does not answer.
func TestSourceThatHangs(t *testing.T) {
	t.Parallel()

	w := newWorld(t)
	server := mongotest.New(t, mongotest.Options{})
	l := w.listenTo(t, server, nil)

	_, err := w.fetch(t, w.ns("orders"), 1, bson.Timestamp{})
	require.NoError(t, err)
	require.NoError(t, server.Freeze(t.Context()))

	const (
		asked = 60
		taken = 4 + 16
	)

	nc := w.nats.Connect(t)
	request := client.Request{Namespace: w.ns("orders"), DocumentKey: raw(t, bson.D{{Key: "_id", Value: 1}}), Patience: time.Minute}
	payload, err := request.Encode()
	require.NoError(t, err)

	for range asked {
		require.NoError(t, nc.PublishRequest(client.Subject(flow), nc.NewInbox(), payload))
	}

	require.Eventually(t, func() bool { return l.Counts()[refetch.Busy] == asked-taken }, patience, time.Millisecond)
	require.Eventually(t, func() bool { return l.Counts()[refetch.Failed] >= 4 }, patience, time.Millisecond)

	require.NoError(t, server.Thaw())
	require.Eventually(t, func() bool {
		counts := l.Counts()

		return counts[refetch.Failed]+counts[refetch.Absent]-1 == taken
	}, patience, time.Millisecond)
	require.Equal(t, uint64(asked-taken), l.Counts()[refetch.Busy])
}

package refetch_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/stretchr/testify/require"
	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/atlas-relay/atlas-relay/pkg/event"
	"github.com/atlas-relay/atlas-relay/pkg/natstest"
	"github.com/atlas-relay/atlas-relay/pkg/refetch"
)

const (
	flow  = "test"
	short = 500 * time.Millisecond // where nobody is expected to answer
)

var orders = event.Namespace{DB: "shop", Coll: "orders"}

// answering subscribes a listener that answers with what it is given.
func answering(t *testing.T, server *natstest.Server, answer func(nc *nats.Conn, request refetch.Request, inbox string)) {
	t.Helper()

	nc := server.Connect(t)
	_, err := nc.Subscribe(refetch.Subject(flow), func(m *nats.Msg) {
		request, err := refetch.DecodeRequest(m.Data)
		if err != nil {
			panic(err) // a request of the client under test
		}

		answer(nc, request, m.Reply)
	})
	require.NoError(t, err)
	require.NoError(t, nc.Flush())
}

func publish(nc *nats.Conn, messages ...*nats.Msg) {
	for _, m := range messages {
		// A client that found a fault does not wait for the rest, and the test may be over.
		if err := nc.PublishMsg(m); err != nil && !errors.Is(err, nats.ErrConnectionClosed) {
			panic(err)
		}
	}
}

func largeImage(t *testing.T) refetch.Image {
	t.Helper()

	return refetch.Image{
		Document: raw(t, bson.D{{Key: "_id", Value: 7}, {Key: "text", Value: strings.Repeat("0123456789", 1000)}}),
		Time:     bson.Timestamp{T: 100, I: 2},
	}
}

// fetch asks for document 7 as of second 100.
func fetch(t *testing.T, server *natstest.Server, patience time.Duration) (refetch.Image, error) {
	t.Helper()

	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()

	client := refetch.New(server.Connect(t), flow)

	return client.Fetch(ctx, orders, raw(t, bson.D{{Key: "_id", Value: int64(7)}}), bson.Timestamp{T: 100, I: 1})
}

func TestFetch(t *testing.T) {
	t.Parallel()

	server, image := natstest.New(t), largeImage(t)
	answering(t, server, func(nc *nats.Conn, request refetch.Request, inbox string) {
		if request.Namespace != orders || request.Patience <= 0 || (request.NotBefore != bson.Timestamp{T: 100, I: 1}) {
			panic(request)
		}

		publish(nc, refetch.EncodeImage(inbox, 1, image, 100)...)
	})

	var fetches sync.WaitGroup // more than may be under way at a time

	for range 20 {
		fetches.Go(func() {
			got, err := fetch(t, server, time.Minute)
			if err != nil || string(got.Document) != string(image.Document) || got.Time != image.Time {
				t.Errorf("got %v, %v", got, err)
			}
		})
	}

	fetches.Wait()
}

func TestAnswersThatAreNoImage(t *testing.T) {
	t.Parallel()

	image := largeImage(t)
	parts := func(inbox string, id uint64) []*nats.Msg { return refetch.EncodeImage(inbox, id, image, 1000) }

	tests := map[string]func(inbox string) []*nats.Msg{
		"first half":  func(inbox string) []*nats.Msg { return parts(inbox, 1)[:5] },
		"second half": func(inbox string) []*nats.Msg { return parts(inbox, 1)[5:] },
		"a part lost": func(inbox string) []*nats.Msg { p := parts(inbox, 1); return append(p[:3], p[4:]...) },
		"two parts swapped": func(inbox string) []*nats.Msg {
			p := parts(inbox, 1)
			p[3], p[4] = p[4], p[3]

			return p
		},
		"halves of two answers": func(inbox string) []*nats.Msg { return append(parts(inbox, 1)[:5], parts(inbox, 2)[5:]...) },
		"a byte changed": func(inbox string) []*nats.Msg {
			p := parts(inbox, 1)
			p[2].Data = append([]byte("x"), p[2].Data[1:]...)

			return p
		},
		"another document": func(inbox string) []*nats.Msg {
			return refetch.EncodeImage(inbox, 1, refetch.Image{Document: raw(t, bson.D{{Key: "_id", Value: 8}}), Time: image.Time}, 1000)
		},
		"no time": func(inbox string) []*nats.Msg {
			return refetch.EncodeImage(inbox, 1, refetch.Image{Document: image.Document}, 1000)
		},
		"an endless document": func(inbox string) []*nats.Msg {
			p := parts(inbox, 1)
			p[0].Header.Set(event.HeaderSize, "99999999999")

			return p
		},
		"more than its size": func(inbox string) []*nats.Msg {
			p := parts(inbox, 1)[:2]
			for _, m := range p {
				m.Header.Set(event.HeaderSize, "1500")
			}

			return p
		},
		"something else": func(inbox string) []*nats.Msg { return []*nats.Msg{{Subject: inbox, Data: []byte("+OK")}} },
		"nothing":        func(string) []*nats.Msg { return nil },
	}

	for name, answer := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()

			server := natstest.Start(t, natstest.Options{WithoutJetStream: true})
			answering(t, server, func(nc *nats.Conn, _ refetch.Request, inbox string) { publish(nc, answer(inbox)...) })

			got, err := fetch(t, server, short)
			require.ErrorIs(t, err, refetch.ErrNoListener)
			require.Equal(t, refetch.Image{}, got)

			if waits := slices.Contains([]string{"first half", "halves of two answers", "nothing"}, name); waits {
				require.ErrorIs(t, err, context.DeadlineExceeded)
			} else {
				require.ErrorIs(t, err, refetch.ErrMalformed, "known at once")
			}
		})
	}
}

func TestPartsThatComeTwiceAndSecondListeners(t *testing.T) {
	t.Parallel()

	image := largeImage(t)
	older := refetch.Image{Document: raw(t, bson.D{{Key: "_id", Value: 7}}), Time: bson.Timestamp{T: 100, I: 1}}
	server := natstest.New(t)

	answering(t, server, func(nc *nats.Conn, _ refetch.Request, inbox string) {
		others := refetch.EncodeImage(inbox, 2, older, 10)

		for i, m := range refetch.EncodeImage(inbox, 1, image, 1000) {
			publish(nc, m, m)

			if i < len(others) {
				publish(nc, others[i])
			}
		}
	})

	got, err := fetch(t, server, time.Minute)
	require.NoError(t, err)
	require.Equal(t, image, got)
}

func TestListenerThatCouldNotRead(t *testing.T) {
	t.Parallel()

	for _, want := range []refetch.ReadError{{Reason: "gone", Transient: true}, {Reason: "never"}} {
		server := natstest.New(t)
		answering(t, server, func(nc *nats.Conn, _ refetch.Request, inbox string) {
			publish(nc, refetch.EncodeFailure(inbox, 1, &want))
		})

		_, err := fetch(t, server, time.Minute)

		var got *refetch.ReadError
		require.ErrorAs(t, err, &got)
		require.Equal(t, want, *got)
		require.NotErrorIs(t, err, refetch.ErrNoListener)
	}
}

// TestBusyListenerTakesNoRequestFromAnother: one that says "not now" at once, as a listener does that was the active one
// and is stuck, while the present one still reads.
func TestBusyListenerTakesNoRequestFromAnother(t *testing.T) {
	t.Parallel()

	server, image := natstest.New(t), largeImage(t)
	said := make(chan struct{})

	answering(t, server, func(nc *nats.Conn, _ refetch.Request, inbox string) {
		publish(nc, refetch.EncodeFailure(inbox, 1, &refetch.ReadError{Reason: "busy", Transient: true}))

		if err := nc.Flush(); err != nil {
			panic(err)
		}

		close(said)
	})
	answering(t, server, func(nc *nats.Conn, _ refetch.Request, inbox string) {
		<-said
		publish(nc, refetch.EncodeImage(inbox, 2, image, 1000)...)
	})

	got, err := fetch(t, server, time.Minute)
	require.NoError(t, err)
	require.Equal(t, image, got)
}

func TestImageFromBeforeTheEventIsRefused(t *testing.T) {
	t.Parallel()

	for _, document := range []bson.Raw{nil, raw(t, bson.D{{Key: "_id", Value: 7}})} {
		server := natstest.New(t)
		answering(t, server, func(nc *nats.Conn, _ refetch.Request, inbox string) {
			publish(nc, refetch.EncodeImage(inbox, 1, refetch.Image{Document: document, Time: bson.Timestamp{T: 99, I: 9}}, 1000)...)
		})

		_, err := fetch(t, server, time.Minute)

		var got *refetch.ReadError
		require.ErrorAs(t, err, &got)
		require.True(t, got.Transient)
	}
}

func TestNobodyListens(t *testing.T) {
	t.Parallel()

	server := natstest.New(t)
	begin := time.Now()

	_, err := fetch(t, server, time.Minute)
	require.ErrorIs(t, err, refetch.ErrNoListener)
	require.ErrorIs(t, err, nats.ErrNoResponders)
	require.Less(t, time.Since(begin), 10*time.Second, "the server says so at once")

	nc := server.Connect(t, nats.ReconnectBufSize(-1))
	client := refetch.New(nc, flow)

	server.Stop()
	require.Eventually(t, func() bool { return !nc.IsConnected() }, 20*time.Second, 10*time.Millisecond)

	_, err = client.Fetch(t.Context(), orders, raw(t, bson.D{{Key: "_id", Value: 7}}), bson.Timestamp{})
	require.ErrorIs(t, err, refetch.ErrNoListener)
}

func TestRequestsThatAreNotSent(t *testing.T) {
	t.Parallel()

	server := natstest.New(t)
	client := refetch.New(server.Connect(t), flow)

	_, err := client.Fetch(t.Context(), orders, raw(t, bson.D{{Key: "secret", Value: "hunter2"}}), bson.Timestamp{})
	require.ErrorIs(t, err, refetch.ErrMalformed)
	require.NotContains(t, err.Error(), "hunter2")

	_, err = client.Fetch(t.Context(), orders, raw(t, bson.D{{Key: "_id", Value: strings.Repeat("x", 2<<20)}}), bson.Timestamp{})

	var refused *refetch.ReadError
	require.ErrorAs(t, err, &refused)
	require.False(t, refused.Transient)
	require.Less(t, len(err.Error()), 1000)

	answering(t, server, func(*nats.Conn, refetch.Request, string) {})

	ctx, cancel := context.WithCancel(t.Context())
	cancel()

	_, err = client.Fetch(ctx, orders, raw(t, bson.D{{Key: "_id", Value: 7}}), bson.Timestamp{})
	require.ErrorIs(t, err, context.Canceled)
	require.NotErrorIs(t, err, refetch.ErrNoListener)
}

package event_test

import (
	"encoding/hex"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/nats-io/nats.go"
	"github.com/stretchr/testify/require"
	"go.mongodb.org/mongo-driver/v2/bson"
	"pgregory.net/rapid"

	"github.com/atlas-relay/atlas-relay/pkg/event"
)

const traceParent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"

// message returns an event of one message that carries these bytes.
func message(tb testing.TB, payload []byte) event.Message {
	tb.Helper()

	return event.Message{
		Kind: event.KindEvent, Partition: 3, Namespace: shop,
		StreamID: "5d41402abc4b2a76", Writer: 0xfeed,
		Position: event.Position{T: 1700000000, I: 7, Ordinal: 2}, ResumeToken: token(tb, 16),
		Event: 42, Skipped: 5, Count: 4,
		Part: 1, Parts: 1, Size: len(payload), Attempt: 1,
		Payload: payload,
	}
}

// changeEvent returns a change event as the server writes it.
func changeEvent(tb testing.TB, operation string, fields ...bson.E) bson.Raw {
	tb.Helper()

	return marshal(tb, append(bson.D{
		{Key: "_id", Value: bson.D{{Key: "_data", Value: "8282"}}},
		{Key: "operationType", Value: operation},
		{Key: "clusterTime", Value: bson.Timestamp{T: 1700000000, I: 7}},
		{Key: "ns", Value: bson.D{{Key: "db", Value: "shop"}, {Key: "coll", Value: "orders"}}},
	}, fields...))
}

// collectionUUID is a field of a change event.
var collectionUUID = bson.E{Key: "collectionUUID", Value: bson.Binary{Subtype: bson.TypeBinaryUUID, Data: []byte("0123456789abcdef")}}

// copyOf returns the copy of a barrier's message for another partition.
func copyOf(tb testing.TB, barrier *event.Message, partition int) event.Message {
	tb.Helper()

	change, err := barrier.SchemaChange()
	require.NoError(tb, err)

	m := *barrier
	m.Partition, m.Count, m.ResumeToken = partition, 17, token(tb, 8)
	m.Payload, err = change.Marshal()
	require.NoError(tb, err)

	m.Size = len(m.Payload)

	return m
}

// render writes a message as a reader can check it.
func render(msg *nats.Msg) string {
	var b strings.Builder

	fmt.Fprintln(&b, msg.Subject)

	for _, name := range slices.Sorted(maps.Keys(msg.Header)) {
		fmt.Fprintf(&b, "%s: %s\n", name, strings.Join(msg.Header[name], " AND "))
	}

	if text, err := bson.MarshalExtJSONIndent(bson.Raw(msg.Data), true, false, "", "  "); bson.Raw(msg.Data).Validate() == nil && err == nil {
		fmt.Fprintf(&b, "\n%s\n", text)
	} else {
		fmt.Fprintf(&b, "\n%s", hex.Dump(msg.Data))
	}

	return b.String()
}

func TestWireForm(t *testing.T) {
	t.Parallel()

	key := bson.E{Key: "documentKey", Value: bson.D{{Key: "_id", Value: int64(7)}}}
	document := bson.E{Key: "fullDocument", Value: bson.D{{Key: "_id", Value: int64(7)}, {Key: "price", Value: decimal128(t, "1.20")}}}
	delta := bson.E{Key: "updateDescription", Value: bson.D{
		{Key: "updatedFields", Value: bson.D{{Key: "price", Value: 2.5}}}, {Key: "removedFields", Value: bson.A{"old"}}, {Key: "truncatedArrays", Value: bson.A{}},
	}}
	insert := changeEvent(t, "insert", key, document)

	part := message(t, event.Split(insert, 100)[1])
	part.Part, part.Parts, part.Size = 2, 3, len(insert)

	again := part
	again.Attempt, again.Writer, again.Generation, again.TraceParent = 2, 0xbeef, 1, traceParent

	awkwardName := message(t, insert)
	awkwardName.Namespace = event.Namespace{DB: "shop", Coll: "$fs.chunks 100%"}

	drop := message(t, changeEvent(t, "drop"))
	drop.Partition, drop.Count, drop.Skipped = 0, 0, 0

	marker := message(t, []byte{0x0a, 0x03, 1, 2, 3})
	marker.Kind, marker.Partition, marker.Namespace, marker.Count = event.KindMarker, 0, event.Namespace{}, 0

	rename := changeEvent(t, "rename", bson.E{Key: "to", Value: bson.D{{Key: "db", Value: "shop"}, {Key: "coll", Value: "old"}}}, collectionUUID)

	barrier := message(t, rename)
	barrier.Kind, barrier.Partition, barrier.Namespace = event.KindBarrier, 0, event.Namespace{}

	barrierPart := barrier
	barrierPart.Part, barrierPart.Parts, barrierPart.Size, barrierPart.Payload = 1, 2, len(rename), event.Split(rename, 100)[0]

	pinned := message(t, insert)
	pinned.Pin = event.PinCapped

	first := event.Message{Kind: event.KindMarker, StreamID: marker.StreamID, ResumeToken: marker.ResumeToken, Part: 1, Parts: 1, Attempt: 1}

	for name, m := range map[string]event.Message{
		"insert":    message(t, insert),
		"update":    message(t, changeEvent(t, "update", key, delta)),
		"replace":   message(t, changeEvent(t, "replace", key, document)),
		"delete":    message(t, changeEvent(t, "delete", key)),
		"drop":      drop,
		"rename":    message(t, changeEvent(t, "rename", bson.E{Key: "to", Value: bson.D{{Key: "db", Value: "shop"}, {Key: "coll", Value: "old"}}})),
		"part":      part,
		"attempt":   again,
		"awkward":   awkwardName,
		"pinned":    pinned,
		"marker":    marker,
		"message-1": first,

		"barrier":      barrier,
		"barrier-part": barrierPart,
		"barrier-copy": copyOf(t, &barrier, 3),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()

			previous := "00112233445566778899aabbccddeeff"
			if name == "message-1" {
				previous = ""
			}

			msg := event.Encode("atlas-to-local", &m, previous)
			golden(t, name, render(msg))
			require.Equal(t, m.ID(), msg.Header.Get("Nats-Msg-Id"))

			decoded, err := event.Decode(msg.Subject, msg.Header, msg.Data)
			require.NoError(t, err)
			require.Equal(t, m, decoded)
		})
	}
}

func TestDecodeRefuses(t *testing.T) {
	t.Parallel()

	for name, spoil := range map[string]func(*nats.Msg){
		"another subject":    func(m *nats.Msg) { m.Subject = "cdc.f.x" },
		"no headers":         func(m *nats.Msg) { m.Header = nil },
		"no payload":         func(m *nats.Msg) { m.Data = nil },
		"endless payload":    func(m *nats.Msg) { m.Data = make([]byte, event.MaxSize+1) },
		"no stream":          func(m *nats.Msg) { m.Header.Del(event.HeaderStream) },
		"long stream":        func(m *nats.Msg) { m.Header[event.HeaderStream][0] = strings.Repeat("x", 129) },
		"no writer":          func(m *nats.Msg) { m.Header.Del(event.HeaderWriter) },
		"writer":             func(m *nats.Msg) { m.Header[event.HeaderWriter][0] = "xyz" },
		"no position":        func(m *nats.Msg) { m.Header.Del(event.HeaderPosition) },
		"position":           func(m *nats.Msg) { m.Header[event.HeaderPosition][0] = "1.2" },
		"no event":           func(m *nats.Msg) { m.Header.Del(event.HeaderEvent) },
		"negative event":     func(m *nats.Msg) { m.Header[event.HeaderEvent][0] = "-1" },
		"event above 64 bit": func(m *nats.Msg) { m.Header[event.HeaderEvent][0] = "18446744073709551616" },
		"all skipped":        func(m *nats.Msg) { m.Header[event.HeaderSkipped][0] = "43" },
		"count":              func(m *nats.Msg) { m.Header[event.HeaderCount][0] = "four" },
		"two counts":         func(m *nats.Msg) { m.Header.Add(event.HeaderCount, "4") },
		"generation":         func(m *nats.Msg) { m.Header[event.HeaderGeneration] = []string{"1.0"} },
		"no token":           func(m *nats.Msg) { m.Header.Del(event.HeaderResumeToken) },
		"token":              func(m *nats.Msg) { m.Header[event.HeaderResumeToken][0] = "%%%" },
		"padded token":       func(m *nats.Msg) { m.Header[event.HeaderResumeToken][0] += "==" },
		"token cut off":      func(m *nats.Msg) { cutHeader(m, event.HeaderResumeToken) },
		"token a lie":        func(m *nats.Msg) { m.Header[event.HeaderResumeToken][0] = "CAAAAAIAAQA" },
		"token on two lines": func(m *nats.Msg) { m.Header[event.HeaderResumeToken][0] = "BQAA\nAAA" },
		"token with a rest":  func(m *nats.Msg) { m.Header[event.HeaderResumeToken][0] = "BQAAAAB" },
		"part 0":             func(m *nats.Msg) { setPart(m, "0/2", 1000) },
		"part 3/2":           func(m *nats.Msg) { setPart(m, "3/2", 1000) },
		"part 2":             func(m *nats.Msg) { setPart(m, "2", 1000) },
		"part 1/2/3":         func(m *nats.Msg) { setPart(m, "1/2/3", 1000) },
		"too many parts":     func(m *nats.Msg) { setPart(m, "1/65537", 1000) },
		"no size":            func(m *nats.Msg) { m.Header[event.HeaderPart] = []string{"1/2"} },
		"small size":         func(m *nats.Msg) { setPart(m, "1/2", len(m.Data)) },
		"endless size":       func(m *nats.Msg) { setPart(m, "1/2", event.MaxSize+1) },
		"other size":         func(m *nats.Msg) { setPart(m, "1/1", len(m.Data)+1) },
		"attempt":            func(m *nats.Msg) { m.Header[event.HeaderAttempt] = []string{"2147483648"} },
		"marker in parts":    func(m *nats.Msg) { m.Subject = "cdc.f.m"; setPart(m, "1/2", 1000) },
		"copy in parts":      func(m *nats.Msg) { m.Subject = "cdc.f.03.b"; setPart(m, "1/2", 1000) },
		"empty barrier":      func(m *nats.Msg) { m.Subject, m.Data = "cdc.f.00.b", nil },
		"empty copy":         func(m *nats.Msg) { m.Subject, m.Data = "cdc.f.03.b", nil },
		"unknown pin":        func(m *nats.Msg) { m.Header[event.HeaderPinned] = []string{"sorted"} },
		"pinned marker":      func(m *nats.Msg) { m.Subject = "cdc.f.m"; m.Header[event.HeaderPinned] = []string{"capped"} },
		"pinned barrier":     func(m *nats.Msg) { m.Subject = "cdc.f.00.b"; m.Header[event.HeaderPinned] = []string{"capped"} },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()

			m := message(t, changeEvent(t, "insert"))
			msg := event.Encode("f", &m, "")
			spoil(msg)

			_, err := event.Decode(msg.Subject, msg.Header, msg.Data)
			require.ErrorIs(t, err, event.ErrMalformed)
		})
	}
}

func cutHeader(m *nats.Msg, name string) {
	value := m.Header[name][0]
	m.Header[name][0] = value[:len(value)-4]
}

func setPart(m *nats.Msg, part string, size int) {
	m.Header[event.HeaderPart] = []string{part}
	m.Header[event.HeaderSize] = []string{strconv.Itoa(size)}
}

func TestDecodeTakesTraceParentInAnyCase(t *testing.T) {
	t.Parallel()

	m := message(t, changeEvent(t, "insert"))

	for _, name := range []string{"traceparent", "Traceparent", "TRACEPARENT"} {
		msg := event.Encode("f", &m, "")
		msg.Header[name] = []string{traceParent}

		decoded, err := event.Decode(msg.Subject, msg.Header, msg.Data)
		require.NoError(t, err)
		require.Equal(t, traceParent, decoded.TraceParent)
	}
}

func TestHeaderValuesDoNotShareRoom(t *testing.T) {
	t.Parallel()

	m := message(t, changeEvent(t, "insert"))
	msg := event.Encode("f", &m, "")
	want := maps.Clone(msg.Header)

	msg.Header.Add(event.HeaderStream, "another")
	msg.Header.Del(event.HeaderStream)
	delete(want, event.HeaderStream)
	require.Equal(t, want, msg.Header)
}

// identity is what makes a message another one.
type identity struct {
	Kind                                         event.Kind
	Generation, Event, Count                     uint64
	Partition, Part, Parts, Attempt, TokenDigits int
}

func drawIdentity(t *rapid.T) identity {
	small, number := rapid.IntRange(0, 3), rapid.Uint64Range(0, 3)

	return identity{
		Kind: event.Kind(rapid.IntRange(1, 3).Draw(t, "kind")), Generation: number.Draw(t, "generation"), Event: number.Draw(t, "event"), Count: number.Draw(t, "count"),
		Partition: small.Draw(t, "partition"), Part: small.Draw(t, "part"), Parts: small.Draw(t, "parts"), Attempt: small.Draw(t, "attempt"), TokenDigits: 2 * small.Draw(t, "token"),
	}
}

func TestMessageIDsDifferExactlyWhenMessagesDo(t *testing.T) {
	t.Parallel()

	id := func(i identity, writer uint64) string {
		m := event.Message{
			Kind: i.Kind, Generation: i.Generation, Event: i.Event, Count: i.Count, Partition: i.Partition,
			Part: i.Part, Parts: i.Parts, Attempt: i.Attempt, ResumeToken: token(t, i.TokenDigits), Writer: writer,
		}

		return m.ID()
	}

	rapid.Check(t, func(t *rapid.T) {
		a, b := drawIdentity(t), drawIdentity(t)

		if rapid.Bool().Draw(t, "swap one") { // fields next to each other must not be mistaken
			b = a
			b.Part, b.Attempt = a.Attempt, a.Part
		}

		require.Equal(t, a == b, id(a, 1) == id(b, 2), "%+v %+v", a, b)
	})
}

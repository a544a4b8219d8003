package event_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"testing"

	"github.com/nats-io/nats.go"
	"github.com/stretchr/testify/require"
	"go.mongodb.org/mongo-driver/v2/bson"
	"pgregory.net/rapid"

	"github.com/atlas-relay/atlas-relay/pkg/event"
)

// many returns a document of this many nulls without a name, the smallest values there are.
func many(n int) []byte {
	raw := binary.LittleEndian.AppendUint32(make([]byte, 0, 5+2*n), uint32(5+2*n))
	raw = append(raw, bytes.Repeat([]byte{byte(bson.TypeNull), 0}, n)...)

	return append(raw, 0)
}

// sized returns a document of just this many bytes.
func sized(tb testing.TB, size int) bson.Raw {
	tb.Helper()

	const envelope = 4 + 1 + 2 + 4 + 1 + 1 // length; type and name; length and subtype; end

	raw := marshal(tb, bson.D{{Key: "b", Value: bson.Binary{Data: make([]byte, size-envelope)}}})
	require.Len(tb, raw, size)

	return raw
}

func TestBoundsOfDocuments(t *testing.T) {
	t.Parallel()

	for name, c := range map[string]struct {
		raw []byte
		out string // which bound it exceeds; empty: none
	}{
		"as deep as may be":    {nested(event.MaxDepth), ""},
		"deeper":               {nested(event.MaxDepth + 1), "levels"},
		"as large as may be":   {sized(t, event.MaxDocument), ""},
		"larger":               {sized(t, event.MaxDocument+1), "bytes"},
		"as many as 16 MiB":    {many(event.MaxElements), ""},
		"deep as nothing else": {nested(1 << 20), "levels"},
	} {
		err := event.CheckDocument(c.raw)
		if c.out == "" {
			require.NoError(t, err, name)
			require.NoError(t, bson.Raw(c.raw).Validate(), name)

			continue
		}

		bound, ok := errors.AsType[*event.BoundError](err)
		require.True(t, ok, "%s: %v", name, err)
		require.Equal(t, c.out, bound.What, name)
		require.ErrorIs(t, err, event.ErrMalformed, name)
	}
}

// TestBoundsOfEvents: an event of fragments exceeds a document, and none of its documents may.
func TestBoundsOfEvents(t *testing.T) {
	t.Parallel()

	drop := bson.E{Key: "operationType", Value: "drop"}
	half := sized(t, event.MaxDocument-1<<10)

	_, err := event.Parse(marshal(t, bson.D{drop, {Key: "fullDocument", Value: half}, {Key: "fullDocumentBeforeChange", Value: half}}))
	require.NoError(t, err)

	for what, field := range map[string]any{
		"bytes":  sized(t, event.MaxDocument+1),
		"levels": bson.D{{Key: "a", Value: nested(event.MaxDepth - 1)}},
		"values": bson.A{bson.Raw(many(event.MaxElements / 2)), bson.Raw(many(event.MaxElements / 2))},
	} {
		_, err := event.Parse(marshal(t, bson.D{drop, {Key: "fullDocument", Value: bson.D{{Key: "x", Value: field}}}}))
		bound, ok := errors.AsType[*event.BoundError](err)
		require.True(t, ok, "%s: %v", what, err)
		require.Equal(t, what, bound.What)
	}
}

// TestParseLooksIntoDocuments: what a reader of Raw, or the driver on the way to the target, would trust is checked too.
func TestParseLooksIntoDocuments(t *testing.T) {
	t.Parallel()

	for _, field := range []string{"fullDocument", "updateDescription", "operationDescription", "whatever"} {
		raw := marshal(t, bson.D{{Key: "operationType", Value: "drop"}, {Key: field, Value: bson.D{{Key: "a", Value: bson.D{{Key: "s", Value: "text"}}}}}})

		_, err := event.Parse(raw)
		require.NoError(t, err)

		lying := bytes.Clone(raw)
		lying[bytes.Index(lying, []byte("\x05\x00\x00\x00text"))]++

		_, err = event.Parse(lying)
		require.ErrorIs(t, err, event.ErrMalformed, field)
	}
}

// TestDriverAgrees: what the driver makes of any value passes, and what passes the driver can read.
func TestDriverAgrees(t *testing.T) {
	t.Parallel()

	var document func(depth int) *rapid.Generator[bson.D]

	value := func(depth int) *rapid.Generator[any] {
		leaves := []any{
			nil, true, int32(1), int64(2), 1.5, "text",
			bson.Binary{Subtype: 2, Data: []byte("x")},
			bson.ObjectID{1},
			bson.Regex{Pattern: "a", Options: "i"},
			bson.DateTime(7),
			bson.Timestamp{T: 1},
			bson.JavaScript("f"), bson.Symbol("s"),
			bson.MinKey{},
			bson.MaxKey{},
			bson.Undefined{},
			bson.DBPointer{DB: "a"},
			bson.NewDecimal128(1, 2),
			bson.CodeWithScope{Code: "f", Scope: bson.D{{Key: "a", Value: 1}}},
		}

		return rapid.Custom(func(t *rapid.T) any {
			switch kind := rapid.IntRange(0, len(leaves)+1).Draw(t, "kind"); {
			case kind < len(leaves):
				return leaves[kind]
			case depth == 0:
				return bson.D{}
			case kind == len(leaves):
				return document(depth-1).Draw(t, "document")
			default:
				return bson.A{document(depth-1).Draw(t, "element"), rapid.String().Draw(t, "text")}
			}
		})
	}

	document = func(depth int) *rapid.Generator[bson.D] {
		return rapid.Custom(func(t *rapid.T) bson.D {
			d := bson.D{}
			for range rapid.IntRange(0, 4).Draw(t, "fields") {
				d = append(d, bson.E{Key: rapid.StringMatching(`[a-zü.$]{0,5}`).Draw(t, "name"), Value: value(depth).Draw(t, "value")})
			}

			return d
		})
	}

	rapid.Check(t, func(t *rapid.T) {
		raw, err := bson.Marshal(document(4).Draw(t, "document"))
		require.NoError(t, err)
		require.NoError(t, event.CheckDocument(raw))

		damaged := bytes.Clone(raw)
		damaged[rapid.IntRange(0, len(damaged)-1).Draw(t, "place")] ^= byte(rapid.IntRange(1, 255).Draw(t, "damage"))

		readable(t, damaged)
	})
}

// readable makes sure that the driver can read what passes.
func readable(tb require.TestingT, raw []byte) {
	if err := event.CheckDocument(raw); err != nil {
		require.ErrorIs(tb, err, event.ErrMalformed)

		return
	}

	require.NoError(tb, bson.Raw(raw).Validate())

	elements, err := bson.Raw(raw).Elements()
	require.NoError(tb, err)

	for _, e := range elements {
		_, _ = event.NewKey(shop, e.Value())
	}

	again, err := bson.Marshal(bson.D{{Key: "copy", Value: bson.Raw(raw)}})
	require.NoError(tb, err)

	var decoded bson.D
	if bson.Unmarshal(again, &decoded) == nil { // which refuses a boolean that is neither 0 nor 1
		_, _ = bson.MarshalExtJSON(decoded, true, false)
	}
}

func FuzzDocument(f *testing.F) {
	f.Add([]byte(nested(3)))
	f.Add([]byte(nested(event.MaxDepth + 1)))
	f.Add(many(3))
	f.Add([]byte(marshal(f, bson.D{{Key: "a", Value: bson.A{1, "x", bson.D{}}}, {Key: "c", Value: bson.CodeWithScope{Code: "f", Scope: bson.D{}}}})))
	f.Add([]byte{5, 0, 0, 0, 0})
	f.Add([]byte{0xff, 0xff, 0xff, 0x7f, 3, 'a', 0, 0xff, 0xff, 0xff, 0xff, 0})

	f.Fuzz(func(t *testing.T, raw []byte) { readable(t, raw) })
}

// FuzzHeaders gives Decode headers as a client may send them: any names, any number of values.
func FuzzHeaders(f *testing.F) {
	insert := message(f, changeEvent(f, "insert"))
	msg := event.Encode("f", &insert, "before")

	wire := []byte("NATS/1.0\r\n")
	for name, values := range msg.Header {
		wire = append(wire, name+": "+values[0]+"\r\n"...)
	}

	wire = append(wire, "\r\n"...)

	f.Add(msg.Subject, wire, msg.Data)
	f.Add("cdc.f.m", []byte("NATS/1.0\r\nRelay-Stream: a\r\nRelay-Stream: b\r\n\r\n"), []byte{})
	f.Add("cdc.f.03.a.b", []byte("NATS/1.0 503\r\n\r\n"), []byte("x"))

	f.Fuzz(func(t *testing.T, subject string, wire, data []byte) {
		header, err := nats.DecodeHeadersMsg(wire)
		if err != nil {
			return
		}

		m, err := event.Decode(subject, header, data)
		if err != nil {
			require.ErrorIs(t, err, event.ErrMalformed)

			return
		}

		require.NoError(t, event.CheckDocument(m.ResumeToken))

		var a event.Assembler

		_, _, _ = a.Add(m)
	})
}

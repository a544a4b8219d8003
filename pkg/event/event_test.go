package event_test

import (
	"encoding/binary"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/atlas-relay/atlas-relay/pkg/event"
)

// shop is the namespace of most tests.
var shop = event.Namespace{DB: "shop", Coll: "orders"}

func marshal(tb testing.TB, doc any) bson.Raw {
	tb.Helper()

	raw, err := bson.Marshal(doc)
	require.NoError(tb, err)

	return raw
}

// token returns a resume token as mongod writes it, of this number of digits.
func token(tb testing.TB, digits int) bson.Raw {
	tb.Helper()

	return marshal(tb, bson.D{{Key: "_data", Value: strings.Repeat("82", digits/2)}})
}

// nested returns {a: {a: … {}}} with this many documents.
func nested(depth int) bson.Raw {
	raw := make(bson.Raw, 0, 8*depth)

	for inner := depth - 1; inner >= 0; inner-- {
		raw = binary.LittleEndian.AppendUint32(raw, uint32(5+8*inner))
		if inner > 0 {
			raw = append(raw, byte(bson.TypeEmbeddedDocument), 'a', 0)
		}
	}

	return append(raw, make([]byte, depth)...)
}

func TestParse(t *testing.T) {
	t.Parallel()

	session := bson.D{{Key: "id", Value: bson.Binary{Subtype: 4, Data: make([]byte, 16)}}}
	key := bson.D{{Key: "_id", Value: int64(7)}, {Key: "region", Value: "eu"}}
	raw := marshal(t, bson.D{
		{Key: "_id", Value: bson.D{{Key: "_data", Value: "82"}}},
		{Key: "operationType", Value: "update"},
		{Key: "clusterTime", Value: bson.Timestamp{T: 12, I: 3}},
		{Key: "ns", Value: bson.D{{Key: "db", Value: "shop"}, {Key: "coll", Value: "orders"}}},
		{Key: "documentKey", Value: key},
		collectionUUID,
		{Key: "lsid", Value: session},
		{Key: "txnNumber", Value: int64(9)},
		{Key: "splitEvent", Value: bson.D{{Key: "fragment", Value: int32(1)}, {Key: "of", Value: int32(1)}}},
	})

	e, err := event.Parse(raw)
	require.NoError(t, err)
	require.Equal(t, event.Event{
		Raw:         raw,
		Operation:   event.Update,
		Namespace:   shop,
		Collection:  event.UUID([]byte("0123456789abcdef")),
		DocumentKey: marshal(t, key),
		ClusterTime: bson.Timestamp{T: 12, I: 3},
		Fragment:    event.Fragment{Number: 1, Of: 1},
		Transaction: event.Transaction{LSID: marshal(t, session), Number: 9},
	}, e)
	require.Equal(t, int64(7), e.ID().Int64())
}

func TestParseTakesFragmentsWithoutTheirOtherFields(t *testing.T) {
	t.Parallel()

	e, err := event.Parse(marshal(t, bson.D{
		{Key: "splitEvent", Value: bson.D{{Key: "fragment", Value: 2}, {Key: "of", Value: 3}}},
		{Key: "fullDocument", Value: bson.D{}},
	}))
	require.NoError(t, err)
	require.Equal(t, event.Fragment{Number: 2, Of: 3}, e.Fragment)
	require.Empty(t, e.ID())
}

func TestParseRefuses(t *testing.T) {
	t.Parallel()

	insert := bson.E{Key: "operationType", Value: "insert"}
	split := func(fragment, of any) bson.Raw {
		return marshal(t, bson.D{insert, {Key: "splitEvent", Value: bson.D{
			{Key: "fragment", Value: fragment}, {Key: "of", Value: of},
		}}})
	}
	whole := marshal(t, bson.D{{Key: "operationType", Value: "drop"}})
	// The string says that it is longer than its document.
	lying := append(bson.Raw(nil), whole...)
	lying[4+1+len("operationType")+1] = 200
	shorter := append(bson.Raw(nil), whole...)
	shorter[0]--

	for name, raw := range map[string]bson.Raw{
		"nothing":               nil,
		"empty":                 {5, 0, 0, 0, 0},
		"cut off":               whole[:len(whole)-1],
		"bytes behind":          append(append(bson.Raw(nil), whole...), 0),
		"length too small":      shorter,
		"number cut off":        {10, 0, 0, 0, 0x10, 'a', 0, 1, 2, 0},
		"length of a value":     lying,
		"unknown type":          {8, 0, 0, 0, 0x50, 'a', 0, 0},
		"name without end":      {7, 0, 0, 0, 10, 'a', 0},
		"no operation":          marshal(t, bson.D{{Key: "ns", Value: bson.D{}}}),
		"operation of a number": marshal(t, bson.D{{Key: "operationType", Value: 1}}),
		"no document key":       marshal(t, bson.D{insert}),
		"document key an array": marshal(t, bson.D{insert, {Key: "documentKey", Value: bson.A{1}}}),
		"document key too deep": marshal(t, bson.D{insert, {Key: "documentKey", Value: nested(201)}}),
		"namespace a string":    marshal(t, bson.D{insert, {Key: "ns", Value: "shop.orders"}}),
		"new name a string":     marshal(t, bson.D{insert, {Key: "to", Value: "shop.orders"}}),
		"short collection UUID": marshal(t, bson.D{insert, {Key: "collectionUUID", Value: bson.Binary{Subtype: 4, Data: []byte{1}}}}),
		"collection a string":   marshal(t, bson.D{insert, {Key: "collectionUUID", Value: "0123456789abcdef"}}),
		"cluster time a date":   marshal(t, bson.D{insert, {Key: "clusterTime", Value: bson.DateTime(1)}}),
		"fragment 0":            split(0, 1),
		"fragment above all":    split(3, 2),
		"endless fragments":     split(1, int64(1)<<40),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()

			_, err := event.Parse(raw)
			require.ErrorIs(t, err, event.ErrMalformed)
		})
	}
}

func TestParseSurvivesDepthBomb(t *testing.T) {
	t.Parallel()

	bomb := nested(1 << 17)

	_, err := event.Parse(marshal(t, bson.D{
		{Key: "operationType", Value: "insert"}, {Key: "documentKey", Value: bson.D{{Key: "_id", Value: bomb}}},
	}))
	require.ErrorIs(t, err, event.ErrMalformed)

	_, err = event.NewKey(shop, bson.RawValue{Type: bson.TypeEmbeddedDocument, Value: bomb})
	require.ErrorIs(t, err, event.ErrMalformed)
}

func TestPosition(t *testing.T) {
	t.Parallel()

	p := event.Position{T: 1<<32 - 1, I: 2, Ordinal: 3}
	parsed, err := event.ParsePosition(p.String())
	require.NoError(t, err)
	require.Equal(t, p, parsed)
	require.Negative(t, event.Position{T: 1, I: 9, Ordinal: 9}.Compare(event.Position{T: 2}))
	require.Positive(t, event.Position{T: 1, I: 2}.Compare(event.Position{T: 1, I: 1, Ordinal: 9}))
	require.Zero(t, p.Compare(p))
	require.True(t, event.Position{}.IsZero())

	for _, s := range []string{"", "1", "1.2", "1.2.3.4", "1..3", "-1.2.3", "+1.2.3", "1.2.4294967296", " 1.2.3"} {
		_, err := event.ParsePosition(s)
		require.ErrorIs(t, err, event.ErrMalformed, "%q", s)
	}
}

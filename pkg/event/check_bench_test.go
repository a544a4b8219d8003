package event_test

import (
	"strconv"
	"strings"
	"testing"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/atlas-relay/atlas-relay/pkg/event"
)

// BenchmarkCheck measures what the check of every event and document costs (ADR 30), at the size of an ordinary event and at
// the largest: of few values, of ordinary documents, and of as many values as there is room for. MB/s are of the document.
func BenchmarkCheck(b *testing.B) {
	const largest = 16 << 20

	for name, raw := range map[string]bson.Raw{
		"500 B, ordinary":           ordinaryEvent(b, 500),
		"16 MiB, one value":         sized(b, largest),
		"16 MiB, ordinary":          orders(b, largest),
		"16 MiB, most values":       many((largest - 5) / 2),
		"16 MiB, 200 levels inside": deepest(b, largest),
	} {
		b.Run(name, func(b *testing.B) {
			b.SetBytes(int64(len(raw)))
			b.ReportAllocs()

			for b.Loop() {
				if err := event.CheckEvent(raw); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// ordinaryEvent is an insert of an order, of at least this many bytes.
func ordinaryEvent(tb testing.TB, size int) bson.Raw {
	tb.Helper()

	event := func(note string) bson.Raw {
		order := append(order(1), bson.E{Key: "note", Value: note})

		return changeEvent(tb, "insert", bson.E{Key: "documentKey", Value: bson.D{{Key: "_id", Value: 1}}}, bson.E{Key: "fullDocument", Value: order})
	}

	return event(strings.Repeat("x", max(0, size-len(event("")))))
}

// order is a document of some 200 bytes with values of several types.
func order(n int) bson.D {
	return bson.D{
		{Key: "_id", Value: int64(n)},
		{Key: "customer", Value: bson.ObjectID{1, 2, 3}},
		{Key: "status", Value: "shipped"},
		{Key: "total", Value: 129.5},
		{Key: "lines", Value: bson.A{bson.D{{Key: "sku", Value: "A-" + strconv.Itoa(n)}, {Key: "count", Value: int32(2)}}}},
		{Key: "paid", Value: true},
	}
}

// orders is a document of as many orders as fit into this many bytes.
func orders(tb testing.TB, size int) bson.Raw {
	tb.Helper()

	const room = 10 // type, name of up to seven digits, end

	list := make(bson.A, 0, size/(len(marshal(tb, order(size)))+room))
	for n := range cap(list) {
		list = append(list, order(n))
	}

	return marshal(tb, bson.D{{Key: "orders", Value: list}})
}

// deepest is a document of documents that nest as deep as they may.
func deepest(tb testing.TB, size int) bson.Raw {
	tb.Helper()

	nested := bson.D{}
	for range event.MaxDepth - 3 { // below: the document, the list, and the innermost one
		nested = bson.D{{Key: "d", Value: nested}}
	}

	raw := marshal(tb, nested)

	const room = 10

	list := make(bson.A, 0, size/(len(raw)+room))
	for range cap(list) {
		list = append(list, raw)
	}

	return marshal(tb, bson.D{{Key: "list", Value: list}})
}

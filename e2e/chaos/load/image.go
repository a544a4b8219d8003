package load

import (
	"encoding/binary"
	"fmt"
	"math"
	"strings"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
)

// writerBits leaves this many serial numbers to each writer: _ids of different writers are never equal.
const writerBits = 24

// largest is near the size of the largest document that MongoDB takes.
const largest = 16<<20 - 1<<10

// rawID gives the numbers _ids of all kinds. Numbers of different types stay apart: 1, 1.0 and NumberLong(1) would be
// one document. Few are documents: to find one of those, a stand-in for MongoDB reads all of them.
func rawID(n int64) bson.RawValue {
	var id any

	kind := n % 9
	if kind == 5 && n%36 != 5 {
		kind = 4
	}

	switch kind {
	case 0:
		id = bson.ObjectID(binary.BigEndian.AppendUint64([]byte("load"), uint64(n)))
	case 1:
		id = int32(n)
	case 2:
		id = n + 1<<40
	case 3:
		id = float64(n) + 0.5
	case 4:
		id = fmt.Sprintf("ключ.$%d*> ", n) // what subjects and field names have to escape
	case 5:
		id = bson.D{{Key: "tenant", Value: n % 97}, {Key: "n", Value: n}}
	case 6:
		id = bson.Binary{Subtype: bson.TypeBinaryUUID, Data: fmt.Appendf(nil, "%016d", n)}
	case 7:
		id = bson.NewDecimal128(0x3040000000000000, uint64(n)<<32)
	default:
		id = bson.DateTime(n)
	}

	bsonType, data, err := bson.MarshalValue(id)
	if err != nil {
		panic(fmt.Sprintf("load: marshal %T: %v", id, err)) // our own values always can be
	}

	return bson.RawValue{Type: bsonType, Value: data}
}

// image makes a whole document; size is about that of its padding, 0: one of many sizes.
func (w *writer) image(d *document, version int64, size int) bson.D {
	if size == 0 {
		size = w.size()
	}

	document := bson.D{
		{Key: "_id", Value: d.id},
		{Key: "v", Value: version},
		{Key: "n", Value: w.rand.Int64()},
		{Key: "amount", Value: bson.NewDecimal128(0x3040000000000000, uint64(w.rand.Uint32()))},
		{Key: "ratio", Value: w.rand.Float64() * math.MaxFloat32},
		{Key: "at", Value: bson.DateTime(w.rand.Int64N(4e12))},
		{Key: "tags", Value: w.tags()},
		{Key: "place", Value: bson.D{{Key: "city", Value: w.word()}, {Key: "open", Value: w.rand.IntN(2) == 0}, {Key: "none", Value: nil}}},
		{Key: "blob", Value: bson.Binary{Data: []byte(w.word())}},
		{Key: "padding", Value: strings.Repeat(w.word(), size/8)},
	}

	if d.unique != "" {
		document = append(document, bson.E{Key: uniqueField, Value: d.unique})
	}

	return document
}

// size is one of 0.1 to 1 KiB, in one document of seven of 1 to 64 KiB; small ones are more frequent.
func (w *writer) size() int {
	if w.rand.IntN(7) > 0 {
		return 100 + w.rand.IntN(924)
	}

	return int(1024 * math.Pow(2, 6*w.rand.Float64()))
}

func (w *writer) word() string { return fmt.Sprintf("%08x", w.rand.Uint32()) }

func (w *writer) tags() bson.A {
	tags := make(bson.A, w.rand.IntN(6))
	for i := range tags {
		tags[i] = w.word()
	}

	return tags
}

// updateOf makes an update of one of many kinds. Each sets the version, so none leaves the document as it is.
func (w *writer) updateOf(version int64) any {
	field := func(name string, value any) bson.D { return bson.D{{Key: name, Value: value}} }
	set := func(more ...bson.E) bson.E {
		return bson.E{Key: "$set", Value: append(bson.D{{Key: "v", Value: version}}, more...)}
	}

	switch w.rand.IntN(9) {
	case 0:
		return bson.D{set(bson.E{Key: "place.city", Value: w.word()})}
	case 1:
		return bson.D{set(bson.E{Key: "n", Value: w.rand.Int64()}, bson.E{Key: "note", Value: w.word()})}
	case 2:
		return bson.D{{Key: "$unset", Value: field("note", "")}, set()}
	case 3:
		return bson.D{{Key: "$push", Value: field("tags", w.word())}, set()}
	case 4:
		return bson.D{{Key: "$push", Value: field("tags", bson.D{
			{Key: "$each", Value: bson.A{w.word(), w.word()}}, {Key: "$position", Value: 0}, {Key: "$slice", Value: 4},
		})}, set()}
	case 5:
		return bson.D{{Key: "$pull", Value: field("tags", bson.D{{Key: "$lt", Value: w.word()}})}, set()}
	case 6:
		return bson.D{{Key: "$pop", Value: field("tags", 1)}, {Key: "$mul", Value: field("ratio", 0.5)}, set()}
	case 7:
		return bson.D{set(bson.E{Key: "padding", Value: strings.Repeat(w.word(), w.size()/8)})}
	default:
		return mongo.Pipeline{
			field("$set", bson.D{
				{Key: "v", Value: version},
				{Key: "note", Value: field("$concat", bson.A{"$place.city", "/", w.word()})},
			}),
			field("$unset", bson.A{"place.open"}),
		}
	}
}

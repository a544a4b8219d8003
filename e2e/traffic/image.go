package traffic

import (
	"encoding/binary"
	"fmt"
	"math"
	"strings"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
)

// writerBits leaves this many serial numbers to each writer: ids of different writers are never equal.
const writerBits = 24

func (w *writer) newDocument(coll *mongo.Collection) *document {
	w.serial++

	id := rawID(int64(w.number)<<writerBits | w.serial)

	return &document{id: id, key: KeyOf(coll.Database().Name()+"."+coll.Name(), id)}
}

// rawID gives the numbers _ids of all kinds. Numbers of different types stay apart: 1, 1.0 and NumberLong(1) would be
// one document.
func rawID(n int64) bson.RawValue {
	var id any

	switch n % 8 {
	case 0:
		id = bson.ObjectID(binary.BigEndian.AppendUint64([]byte("demo"), uint64(n)))
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
	default:
		id = bson.DateTime(n)
	}

	return rawValue(id)
}

func rawValue(value any) bson.RawValue {
	kind, data, err := bson.MarshalValue(value)
	if err != nil {
		panic(fmt.Sprintf("traffic: marshal %T: %v", value, err)) // our own values always can be
	}

	return bson.RawValue{Type: kind, Value: data}
}

// image makes a whole document of its present version.
func (w *writer) image(d *document) bson.D {
	return bson.D{
		{Key: "_id", Value: d.id},
		{Key: "v", Value: d.version},
		{Key: "n", Value: w.rand.Int64()},
		{Key: "amount", Value: bson.NewDecimal128(0x3040000000000000, uint64(w.rand.Uint32()))},
		{Key: "ratio", Value: w.rand.Float64() * math.MaxFloat32},
		{Key: "at", Value: bson.DateTime(w.rand.Int64N(4e12))},
		{Key: "tags", Value: w.tags()},
		{Key: "place", Value: bson.D{{Key: "city", Value: w.word()}, {Key: "open", Value: w.rand.IntN(2) == 0}, {Key: "none", Value: nil}}},
		{Key: "blob", Value: bson.Binary{Data: []byte(w.word())}},
		{Key: "padding", Value: strings.Repeat(w.word(), w.traffic.options.Padding/8)},
	}
}

func (w *writer) word() string { return fmt.Sprintf("%08x", w.rand.Uint32()) }

func (w *writer) tags() bson.A {
	tags := make(bson.A, w.rand.IntN(6))
	for i := range tags {
		tags[i] = w.word()
	}

	return tags
}

// updateOf makes an update of one of many kinds. Each raises the version, so none leaves the document as it is.
func (w *writer) updateOf() any {
	field := func(name string, value any) bson.D { return bson.D{{Key: name, Value: value}} }
	raise := bson.E{Key: "$inc", Value: field("v", 1)}

	switch w.rand.IntN(8) {
	case 0:
		return bson.D{{Key: "$set", Value: field("place.city", w.word())}, raise}
	case 1:
		return bson.D{{Key: "$set", Value: bson.D{{Key: "n", Value: w.rand.Int64()}, {Key: "note", Value: w.word()}}}, raise}
	case 2:
		return bson.D{{Key: "$unset", Value: field("note", "")}, raise}
	case 3:
		return bson.D{{Key: "$push", Value: field("tags", w.word())}, raise}
	case 4:
		return bson.D{{Key: "$push", Value: field("tags", bson.D{
			{Key: "$each", Value: bson.A{w.word(), w.word()}}, {Key: "$position", Value: 0}, {Key: "$slice", Value: 4},
		})}, raise}
	case 5:
		return bson.D{{Key: "$pull", Value: field("tags", bson.D{{Key: "$lt", Value: w.word()}})}, raise}
	case 6:
		return bson.D{{Key: "$pop", Value: field("tags", 1)}, {Key: "$mul", Value: field("ratio", 0.5)}, raise}
	default:
		return mongo.Pipeline{
			field("$set", bson.D{
				{Key: "v", Value: field("$add", bson.A{"$v", 1})},
				{Key: "note", Value: field("$concat", bson.A{"$place.city", "/", w.word()})},
			}),
			field("$unset", bson.A{"place.open"}),
		}
	}
}

// Package documents makes documents, _ids and updates of every kind that a relay has to carry, from a random generator.
//
// Each document has a version, the field v, which every write to it raises: no write leaves a document as it is, because a
// server makes no event of that (and a stand-in may).
package documents

import (
	"encoding/binary"
	"fmt"
	"math"
	"math/rand/v2"
	"strings"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
)

// writerBits leaves this many serial numbers to each writer.
const writerBits = 24

// ID is the _id of a writer's n-th document, in turn of every kind; those of different writers are never equal. Numbers of
// different types stay apart: 1, 1.0 and NumberLong(1) would be one document. Few are documents: to find one of those, a
// stand-in for MongoDB reads all of them.
func ID(writer int, n int64) bson.RawValue {
	const (
		kinds, document = 9, 5
		seldom          = 4 // one _id of this many that could be a document is one
	)

	n |= int64(writer) << writerBits

	kind := n % kinds
	if kind == document && n%(kinds*seldom) != document {
		kind--
	}

	var id any

	switch kind {
	case 0:
		id = bson.ObjectID(binary.BigEndian.AppendUint64([]byte("made"), uint64(n)))
	case 1:
		id = int32(n)
	case 2:
		id = n + 1<<40
	case 3:
		id = float64(n) + 0.5
	case 4:
		id = fmt.Sprintf("ключ.$%d*> ", n) // what subjects and field names have to escape
	case document:
		id = bson.D{{Key: "tenant", Value: n % 97}, {Key: "n", Value: n}}
	case 6:
		id = bson.Binary{Subtype: bson.TypeBinaryUUID, Data: fmt.Appendf(nil, "%016d", n)}
	case 7:
		id = bson.NewDecimal128(0x3040000000000000, uint64(n)<<32)
	default:
		id = bson.DateTime(n)
	}

	return Value(id)
}

// Value is a value as the driver encodes it. It panics on what cannot be encoded.
func Value(value any) bson.RawValue {
	kind, data, err := bson.MarshalValue(value)
	if err != nil {
		panic(fmt.Sprintf("documents: marshal %T: %v", value, err))
	}

	return bson.RawValue{Type: kind, Value: data}
}

// Image is a whole document with about so many bytes of padding.
func Image(random *rand.Rand, id bson.RawValue, version int64, padding int) bson.D {
	return bson.D{
		{Key: "_id", Value: id},
		{Key: "v", Value: version},
		{Key: "n", Value: random.Int64()},
		{Key: "amount", Value: bson.NewDecimal128(0x3040000000000000, uint64(random.Uint32()))},
		{Key: "ratio", Value: random.Float64() * math.MaxFloat32},
		{Key: "at", Value: bson.DateTime(random.Int64N(4e12))},
		{Key: "tags", Value: tags(random)},
		{Key: "place", Value: bson.D{{Key: "city", Value: Word(random)}, {Key: "open", Value: random.IntN(2) == 0}, {Key: "none", Value: nil}}},
		{Key: "blob", Value: bson.Binary{Data: []byte(Word(random))}},
		{Key: "padding", Value: pad(random, padding)},
	}
}

// Word is eight characters.
func Word(random *rand.Rand) string { return fmt.Sprintf("%08x", random.Uint32()) }

func pad(random *rand.Rand, size int) string {
	word := Word(random)

	return strings.Repeat(word, size/len(word))
}

func tags(random *rand.Rand) bson.A {
	tags := make(bson.A, random.IntN(6))
	for i := range tags {
		tags[i] = Word(random)
	}

	return tags
}

// Update is an update of one of many kinds, for a document that Image has made; padding is as there.
func Update(random *rand.Rand, version int64, padding int) any {
	field := func(name string, value any) bson.D { return bson.D{{Key: name, Value: value}} }
	set := func(more ...bson.E) bson.E {
		return bson.E{Key: "$set", Value: append(bson.D{{Key: "v", Value: version}}, more...)}
	}

	switch random.IntN(9) {
	case 0:
		return bson.D{set(bson.E{Key: "place.city", Value: Word(random)})}
	case 1:
		return bson.D{set(bson.E{Key: "n", Value: random.Int64()}, bson.E{Key: "note", Value: Word(random)})}
	case 2:
		return bson.D{{Key: "$unset", Value: field("note", "")}, set()}
	case 3:
		return bson.D{{Key: "$push", Value: field("tags", Word(random))}, set()}
	case 4:
		return bson.D{{Key: "$push", Value: field("tags", bson.D{
			{Key: "$each", Value: bson.A{Word(random), Word(random)}}, {Key: "$position", Value: 0}, {Key: "$slice", Value: 4},
		})}, set()}
	case 5:
		return bson.D{{Key: "$pull", Value: field("tags", bson.D{{Key: "$lt", Value: Word(random)}})}, set()}
	case 6:
		return bson.D{{Key: "$pop", Value: field("tags", 1)}, {Key: "$mul", Value: field("ratio", 0.5)}, set()}
	case 7:
		return bson.D{set(bson.E{Key: "padding", Value: pad(random, padding)})}
	default:
		return mongo.Pipeline{
			field("$set", bson.D{
				{Key: "v", Value: version},
				{Key: "note", Value: field("$concat", bson.A{"$place.city", "/", Word(random)})},
			}),
			field("$unset", bson.A{"place.open"}),
		}
	}
}

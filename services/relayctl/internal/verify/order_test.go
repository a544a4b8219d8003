package verify_test

import (
	"bytes"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strconv"
	"testing"

	"github.com/stretchr/testify/require"
	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo/options"

	"github.com/atlas-relay/atlas-relay/pkg/mongotest"
	"github.com/atlas-relay/atlas-relay/services/relayctl/internal/verify"
)

func decimal(t *testing.T, text string) bson.Decimal128 {
	t.Helper()

	d, err := bson.ParseDecimal128(text)
	require.NoError(t, err)

	return d
}

func oid(b byte) bson.ObjectID { return bson.ObjectID(bytes.Repeat([]byte{b}, 12)) }

// ascending are values of every type that an _id may have, in the server's order; those in one group are one _id.
func ascending(t *testing.T) [][]any {
	t.Helper()

	d := func(text string) bson.Decimal128 { return decimal(t, text) }

	return [][]any{
		{bson.MinKey{}},
		{nil},
		{math.NaN(), d("NaN")},
		{math.Inf(-1), d("-Infinity")},
		{d("-1E6144")},
		{-math.MaxFloat64},
		{int64(math.MinInt64), -0x1p63},
		{int64(math.MinInt64 + 1)},
		{int32(-1), int64(-1), -1.0, d("-1.000")},
		{d("-0.1")},
		{-5e-324},
		{d("-1E-6176")},
		{int32(0), int64(0), 0.0, math.Copysign(0, -1), d("0"), d("-0E+3")},
		{d("1E-6176")},
		{5e-324},
		{d("0.1")},
		{0.1}, // 0.1000000000000000055…
		{0.5, d("0.5")},
		{int32(1), int64(1), 1.0, d("1")},
		{int64(1<<53) - 1},
		{int64(1 << 53), 0x1p53},
		{int64(1<<53) + 1},
		{int64(1<<53) + 2, 0x1p53 + 2},
		{int64(math.MaxInt64)},
		{0x1p63, d("9223372036854775808")},
		{math.MaxFloat64},
		{d("1E6144")},
		{math.Inf(1), d("Infinity")},
		{""},
		{"\x00"},
		{"A"},
		{"a", bson.Symbol("a")},
		{"a\x00b"},
		{"aa"},
		{"ä"},
		{bson.D{}},
		{bson.D{{Key: "a", Value: nil}}},
		{bson.D{{Key: "b", Value: nil}}},
		{bson.D{{Key: "a", Value: 1}}, bson.D{{Key: "a", Value: 1.0}}},
		{bson.D{{Key: "a", Value: 1}, {Key: "b", Value: 1}}},
		{bson.D{{Key: "a", Value: 2}}},
		{bson.D{{Key: "b", Value: 0}}},
		{bson.D{{Key: "a", Value: "x"}}},
		{bson.D{{Key: "a", Value: bson.D{{Key: "z", Value: 1}}}}},
		{bson.D{{Key: "a", Value: bson.A{1, 2}}}},
		{bson.D{{Key: "a", Value: bson.A{1, 3}}}},
		{bson.Binary{}},
		{bson.Binary{Subtype: 5}},
		{bson.Binary{Data: []byte{2}}},
		{bson.Binary{Subtype: 4, Data: []byte{1}}},
		{bson.Binary{Subtype: 0x80, Data: []byte{0}}},
		{bson.Binary{Data: []byte{0, 0}}},
		{oid(0)},
		{oid(1)},
		{oid(0xff)},
		{false},
		{true},
		{bson.DateTime(math.MinInt64)},
		{bson.DateTime(-1)},
		{bson.DateTime(0)},
		{bson.DateTime(math.MaxInt64)},
		{bson.Timestamp{T: 0, I: 1}},
		{bson.Timestamp{T: 1, I: 0}},
		{bson.Timestamp{T: math.MaxUint32, I: math.MaxUint32}},
		{bson.DBPointer{DB: "a", Pointer: oid(9)}},
		{bson.DBPointer{DB: "b", Pointer: oid(1)}},
		{bson.JavaScript("a")},
		{bson.JavaScript("b")},
		{bson.CodeWithScope{Code: "a", Scope: bson.D{}}},
		{bson.CodeWithScope{Code: "a", Scope: bson.D{{Key: "x", Value: 1}}}},
		{bson.CodeWithScope{Code: "b", Scope: bson.D{}}},
		{bson.MaxKey{}},
	}
}

func value(t *testing.T, v any) bson.RawValue {
	t.Helper()

	return raw(t, bson.D{{Key: "_id", Value: v}}).Lookup("_id")
}

func TestCompare(t *testing.T) {
	t.Parallel()

	groups := ascending(t)

	for i, left := range groups {
		for j, right := range groups {
			for _, a := range left {
				for _, b := range right {
					got := verify.Compare(value(t, a), value(t, b))

					switch {
					case i < j:
						require.Negative(t, got, "%T %v before %T %v", a, a, b, b)
					case i > j:
						require.Positive(t, got, "%T %v after %T %v", a, a, b, b)
					default:
						require.Zero(t, got, "%T %v as %T %v", a, a, b, b)
					}
				}
			}
		}
	}
}

// TestCompareOrdersLikeTheServer sorts one value of each group, and random ones, by the server and here.
func TestCompareOrdersLikeTheServer(t *testing.T) {
	t.Parallel()

	seed := rand.Uint64()
	t.Logf("seed %d", seed)

	var (
		random = rand.New(rand.NewPCG(seed, 0))
		coll   = mongotest.DB(t).Collection("c")
		server = mongotest.Shared(t).Features(t)
		ids    []any
	)

	for _, group := range ascending(t) {
		switch v := group[random.IntN(len(group))].(type) {
		case bson.Symbol, bson.DBPointer, bson.JavaScript, bson.CodeWithScope:
			if server.KeepsDeprecatedTypes {
				ids = append(ids, v)
			}
		case bson.Binary:
			if server.OrdersBinary || len(v.Data) == 0 {
				ids = append(ids, v)
			}
		default:
			ids = append(ids, v)
		}
	}

	for len(ids) < 400 {
		ids = append(ids, randomID(random, 0, server.OrdersBinary))
	}

	var stored int64

	for _, id := range ids {
		if _, err := coll.InsertOne(t.Context(), bson.D{{Key: "_id", Value: id}}); err == nil { // or there already
			stored++
		}
	}

	require.Greater(t, stored, int64(200))

	cursor, err := coll.Find(t.Context(), bson.D{}, options.Find().SetSort(bson.D{{Key: "_id", Value: 1}}))
	require.NoError(t, err)

	var documents []bson.Raw
	require.NoError(t, cursor.All(t.Context(), &documents))
	require.Len(t, documents, int(stored))

	for i := range documents[1:] {
		a, b := documents[i].Lookup("_id"), documents[i+1].Lookup("_id")
		require.Negative(t, verify.Compare(a, b), "%s (%s) is before %s (%s)", a, a.Type, b, b.Type)
		require.Positive(t, verify.Compare(b, a))
	}

	for _, d := range documents {
		require.Zero(t, verify.Compare(d.Lookup("_id"), d.Lookup("_id")))
	}
}

func randomID(r *rand.Rand, depth int, binary bool) any {
	kinds := 9
	if depth > 2 {
		kinds = 7
	}

	choice := r.IntN(kinds)
	if choice == 5 && !binary {
		choice = 6
	}

	switch choice {
	case 0:
		return int32(r.IntN(40) - 20)
	case 1:
		return int64(r.IntN(40)-20) << r.IntN(60)
	case 2:
		return float64(r.IntN(400)-200) / 8
	case 3:
		return strconv.Itoa(r.IntN(1000))
	case 4:
		return bson.NewDecimal128(0x3036000000000000, uint64(r.IntN(3000))) // hundredths
	case 5:
		return bson.Binary{Subtype: byte(r.IntN(3)) * 4, Data: fmt.Append(nil, r.IntN(200))}
	case 6:
		return bson.DateTime(r.IntN(100) - 50)
	default:
		d := bson.D{}
		for n := range r.IntN(3) {
			d = append(d, bson.E{Key: string(rune('a' + n + r.IntN(2))), Value: randomID(r, depth+1, binary)})
		}

		return slices.CompactFunc(d, func(a, b bson.E) bool { return a.Key == b.Key })
	}
}

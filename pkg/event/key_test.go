package event_test

import (
	"encoding/binary"
	"fmt"
	"math"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/atlas-relay/atlas-relay/pkg/event"
)

func rawValue(t require.TestingT, v any) bson.RawValue {
	kind, value, err := bson.MarshalValue(v)
	require.NoError(t, err)

	return bson.RawValue{Type: kind, Value: value}
}

func keyOf(t require.TestingT, id any) event.Key {
	key, err := event.NewKey(shop, rawValue(t, id))
	require.NoError(t, err)

	return key
}

func decimal128(t require.TestingT, s string) bson.Decimal128 {
	d, err := bson.ParseDecimal128(s)
	require.NoError(t, err)

	return d
}

// classes are ids that MongoDB takes for the same, one class a line. Ids of
// different classes are different ones.
func classes(t *testing.T) map[string][]any {
	t.Helper()

	dec := func(s string) bson.Decimal128 { return decimal128(t, s) }
	oid := bson.ObjectID{1, 2, 3}
	// The bits of a coefficient above 34 digits: it counts as 0.
	tooLong := bson.NewDecimal128(0x3041ffffffffffff, math.MaxUint64)
	wide := bson.NewDecimal128(0x6c10000000000000, 1)

	return map[string][]any{
		"one":            {int32(1), int64(1), 1.0, dec("1"), dec("1.00"), dec("1E0"), dec("10E-1")},
		"minus one":      {int32(-1), int64(-1), -1.0, dec("-1"), dec("-1.000")},
		"zero":           {int32(0), int64(0), 0.0, math.Copysign(0, -1), dec("0"), dec("-0"), dec("0E+300"), dec("0E-300"), tooLong, wide},
		"hundred":        {int32(100), 100.0, dec("100"), dec("1E2"), dec("1.0E+2")},
		"2^53":           {int64(1 << 53), float64(1 << 53), dec("9007199254740992")},
		"2^53+1":         {int64(1<<53 + 1), dec("9007199254740993"), dec("9007199254740993.0")},
		"2^63-1":         {int64(math.MaxInt64), dec("9223372036854775807")},
		"2^63":           {float64(1 << 63), dec("9223372036854775808")},
		"2^63+1":         {dec("9223372036854775809")},
		"-2^63":          {int64(math.MinInt64), float64(-1 << 63), dec("-9223372036854775808")},
		"2^64":           {float64(1 << 64), dec("18446744073709551616")},
		"2^64+1":         {dec("18446744073709551617"), dec("18446744073709551617.0")},
		"half":           {0.5, dec("0.5"), dec("0.50"), dec("5E-1")},
		"minus half":     {-0.5, dec("-0.5")},
		"double 0.1":     {0.1},
		"decimal 0.1":    {dec("0.1"), dec("0.10"), dec("1E-1")},
		"1e22":           {1e22, dec("1E22"), dec("10E21")},
		"decimal 1e23":   {dec("1E23")},
		"double 1e23":    {1e23, dec("99999999999999991611392")},
		"decimal 1e6111": {dec("1E6111"), dec("10E6110")},
		"smallest":       {dec("1E-6176")},
		"denormal":       {math.SmallestNonzeroFloat64},
		"max":            {math.MaxFloat64},
		"2^-20":          {math.Ldexp(1, -20), dec("9.5367431640625E-7")},
		"NaN":            {math.NaN(), math.Float64frombits(0xfff8000000000001), dec("NaN"), dec("-NaN")},
		"inf":            {math.Inf(1), dec("Infinity")},
		"minus inf":      {math.Inf(-1), dec("-Infinity")},
		"string":         {"a", bson.Symbol("a")},
		"string 1":       {"1"},
		"empty string":   {"", bson.Symbol("")},
		"null":           {bson.Null{}},
		"undefined":      {bson.Undefined{}},
		"min":            {bson.MinKey{}},
		"max key":        {bson.MaxKey{}},
		"true":           {true},
		"false":          {false},
		"object id":      {oid},
		"hex of it":      {oid.Hex()},
		"date":           {bson.DateTime(1)},
		"timestamp":      {bson.Timestamp{I: 1}},
		"binary 0":       {bson.Binary{Data: []byte{1}}},
		"binary 4":       {bson.Binary{Subtype: 4, Data: []byte{1}}},
		"binary 2":       {bson.Binary{Subtype: 2, Data: []byte{1}}},
		"regex":          {bson.Regex{Pattern: "a", Options: "i"}},
		"regex ai":       {bson.Regex{Pattern: "ai"}},
		"pointer":        {bson.DBPointer{DB: "a", Pointer: oid}},
		"code":           {bson.JavaScript("a")},
		"code in 1":      {bson.CodeWithScope{Code: "a", Scope: bson.D{{Key: "x", Value: 1}}}, bson.CodeWithScope{Code: "a", Scope: bson.D{{Key: "x", Value: 1.0}}}},
		"code in 2":      {bson.CodeWithScope{Code: "a", Scope: bson.D{{Key: "x", Value: 2}}}},
		"document":       {bson.D{{Key: "a", Value: 1}, {Key: "b", Value: "x"}}, bson.D{{Key: "a", Value: dec("1.0")}, {Key: "b", Value: bson.Symbol("x")}}},
		"other order":    {bson.D{{Key: "b", Value: "x"}, {Key: "a", Value: 1}}},
		"other name":     {bson.D{{Key: "a", Value: 1}, {Key: "c", Value: "x"}}},
		"shorter":        {bson.D{{Key: "a", Value: 1}}},
		"deeper":         {bson.D{{Key: "a", Value: bson.D{{Key: "b", Value: bson.A{1, "x"}}}}}, bson.D{{Key: "a", Value: bson.D{{Key: "b", Value: bson.A{1.0, "x"}}}}}},
		"empty document": {bson.D{}},
		"array in it":    {bson.D{{Key: "a", Value: bson.A{1}}}},
		"arrays in it":   {bson.D{{Key: "a", Value: bson.A{bson.A{1}}}}},
		"two in it":      {bson.D{{Key: "a", Value: bson.A{1, 1}}}},
		"empty in it":    {bson.D{{Key: "a", Value: bson.A{}}}},
		"document in it": {bson.D{{Key: "a", Value: bson.D{{Key: "0", Value: 1}}}}},
	}
}

func TestKeysAreEqualExactlyWhenMongoDBSaysSo(t *testing.T) {
	t.Parallel()

	owner := map[event.Key]string{}

	for class, ids := range classes(t) {
		for _, wrap := range []func(any) any{
			func(id any) any { return id },
			func(id any) any { return bson.D{{Key: "in", Value: id}} },
			func(id any) any { return bson.D{{Key: "list", Value: bson.A{"x", id}}} },
		} {
			key := keyOf(t, wrap(ids[0]))
			require.NotContains(t, owner, key, "%s has the key of another class", class)
			owner[key] = class

			for _, id := range ids[1:] {
				require.Equal(t, key, keyOf(t, wrap(id)), "%s: %T %v", class, id, id)
			}
		}
	}
}

func TestKeyIgnoresNamesOfArrayElements(t *testing.T) {
	t.Parallel()

	array := func(name string) bson.RawValue {
		return bson.RawValue{Type: bson.TypeArray, Value: marshal(t, bson.D{{Key: name, Value: true}})}
	}

	a, err := event.NewKey(shop, array("0"))
	require.NoError(t, err)
	b, err := event.NewKey(shop, array("zero"))
	require.NoError(t, err)
	require.Equal(t, a, b)
}

func TestKeyHasTheNamespace(t *testing.T) {
	t.Parallel()

	id := rawValue(t, "x")
	seen := map[event.Key]event.Namespace{}

	for _, ns := range []event.Namespace{
		{DB: "a", Coll: "b"}, {DB: "b", Coll: "a"}, {DB: "ab", Coll: ""}, {DB: "", Coll: "ab"}, {DB: "a", Coll: "b.c"}, {DB: "a.b", Coll: "c"},
	} {
		key, err := event.NewKey(ns, id)
		require.NoError(t, err)
		require.NotContains(t, seen, key)
		seen[key] = ns
	}
}

func TestKeyRefuses(t *testing.T) {
	t.Parallel()

	for name, id := range map[string]bson.RawValue{
		"no _id":        {},
		"short":         {Type: bson.TypeInt64, Value: []byte{1, 2, 3}},
		"long":          {Type: bson.TypeInt32, Value: make([]byte, 5)},
		"bool 2":        {Type: bson.TypeBoolean, Value: []byte{2}},
		"unknown type":  {Type: 0x77, Value: []byte{1}},
		"open string":   {Type: bson.TypeString, Value: []byte{2, 0, 0, 0, 'a', 'b'}},
		"negative":      {Type: bson.TypeString, Value: []byte{0xff, 0xff, 0xff, 0xff, 0}},
		"binary length": {Type: bson.TypeBinary, Value: []byte{9, 0, 0, 0, 0, 1}},
		"too deep":      {Type: bson.TypeEmbeddedDocument, Value: nested(201)},
		"scope cut off": {Type: bson.TypeCodeWithScope, Value: []byte{12, 0, 0, 0, 1, 0, 0, 0, 0, 5, 0, 0}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()

			_, err := event.NewKey(shop, id)
			require.ErrorIs(t, err, event.ErrMalformed)
		})
	}

	_, err := event.NewKey(shop, bson.RawValue{Type: bson.TypeEmbeddedDocument, Value: nested(200)})
	require.NoError(t, err)
}

// The partitions of these ids are part of every stream that exists: a change of
// any of them would let a document's changes overtake each other.
func TestPartitionsNeverChange(t *testing.T) {
	t.Parallel()

	oid, err := bson.ObjectIDFromHex("65f0c0ffee65f0c0ffee0001")
	require.NoError(t, err)

	ids := []any{
		1, 2, int64(1 << 40), -7, 0.1, 1e300, decimal128(t, "0.1"), decimal128(t, "1E6000"), math.NaN(), math.Inf(-1), "a", "", "Grüße", oid, true,
		bson.Null{},
		bson.DateTime(1700000000000),
		bson.Timestamp{T: 5, I: 6},
		bson.Binary{Subtype: 4, Data: []byte("0123456789abcdef")},
		bson.Regex{Pattern: "^a"},
		bson.MinKey{},
		bson.D{{Key: "a", Value: 1}, {Key: "b", Value: bson.A{1, "x", bson.D{}}}},
		bson.CodeWithScope{Code: "x", Scope: bson.D{}},
	}

	var table strings.Builder

	for _, ns := range []event.Namespace{shop, {DB: "shop", Coll: "a.b"}} {
		for _, id := range ids {
			key, err := event.NewKey(ns, rawValue(t, id))
			require.NoError(t, err)
			fmt.Fprintf(&table, "%s %T %v:", ns, id, id)

			for _, n := range []int{1, 8, 16, 64, 256} {
				fmt.Fprintf(&table, " %d", key.Partition(n))
			}

			table.WriteByte('\n')
		}
	}

	golden(t, "partitions", table.String())
}

func TestPartitionsAreEven(t *testing.T) {
	t.Parallel()

	const ids, n = 64_000, 16

	for name, id := range map[string]func(i int) any{
		"integers":   func(i int) any { return i },
		"strings":    func(i int) any { return fmt.Sprintf("order-%06d", i) },
		"object ids": func(i int) any { return bson.ObjectID{0: 0x65, 8: byte(i >> 16), 9: byte(i >> 8), 11: byte(i)} },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()

			var counts [n]int
			for i := range ids {
				counts[keyOf(t, id(i)).Partition(n)]++
			}

			for partition, count := range counts {
				// Five standard deviations of a fair draw are about 306.
				require.InDelta(t, ids/n, count, 310, "partition %d", partition)
			}
		})
	}
}

func BenchmarkNewKey(b *testing.B) {
	for name, id := range map[string]any{
		"int32":     int32(7),
		"object id": bson.ObjectID{1, 2, 3},
		"string":    "order-0000001",
		"double":    7.5,
		"decimal":   bson.NewDecimal128(0x3040000000000000, 12345),
		"document":  bson.D{{Key: "a", Value: 1}, {Key: "b", Value: "x"}},
	} {
		value := rawValue(b, id)

		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()

			for b.Loop() {
				key, err := event.NewKey(shop, value)
				if err != nil || key.Partition(16) > 15 {
					b.Fatal(err)
				}
			}
		})
	}
}

func FuzzKey(f *testing.F) {
	f.Add(byte(bson.TypeInt32), binary.LittleEndian.AppendUint32(nil, 1))
	f.Add(byte(bson.TypeEmbeddedDocument), []byte(marshal(f, bson.D{{Key: "a", Value: bson.A{1, 0.1, "x"}}})))
	f.Add(byte(bson.TypeCodeWithScope), rawValue(f, bson.CodeWithScope{Code: "x", Scope: bson.D{{Key: "a", Value: 1}}}).Value)
	f.Add(byte(bson.TypeDecimal128), rawValue(f, decimal128(f, "1E-6000")).Value)
	f.Add(byte(bson.TypeRegex), []byte("a\x00i\x00"))
	f.Add(byte(bson.TypeDBPointer), rawValue(f, bson.DBPointer{DB: "a"}).Value)

	f.Fuzz(func(t *testing.T, kind byte, value []byte) {
		id := bson.RawValue{Type: bson.Type(kind), Value: value}

		key, err := event.NewKey(shop, id)
		if err != nil {
			require.ErrorIs(t, err, event.ErrMalformed)
			return
		}

		require.NoError(t, id.Validate())

		again, err := event.NewKey(shop, id)
		require.NoError(t, err)
		require.Equal(t, key, again)
	})
}

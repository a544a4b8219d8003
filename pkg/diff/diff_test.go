package diff_test

import (
	"testing"

	"github.com/stretchr/testify/require"
	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/atlas-relay/atlas-relay/pkg/diff"
)

func TestFirst(t *testing.T) {
	t.Parallel()

	for name, test := range map[string]struct {
		source, target string
		path           string
		order          bool
		values         []string
	}{
		"a value":              {`{"_id":1,"a":1,"b":2}`, `{"_id":1,"a":1,"b":3}`, "b", false, []string{`{"$numberInt":"2"}`, `{"$numberInt":"3"}`}},
		"a type":               {`{"a":1}`, `{"a":1.5}`, "a", false, nil},
		"missing":              {`{"a":1,"b":2}`, `{"a":1}`, "b", false, []string{`{"$numberInt":"2"}`, ""}},
		"more":                 {`{"a":1}`, `{"a":1,"b":2}`, "b", false, []string{"", `{"$numberInt":"2"}`}},
		"nested":               {`{"a":{"b":{"c":1}}}`, `{"a":{"b":{"c":2}}}`, "a.b.c", false, nil},
		"in an array":          {`{"a":[{"b":1},{"b":2}]}`, `{"a":[{"b":1},{"b":3}]}`, "a.1.b", false, nil},
		"a longer array":       {`{"a":[1]}`, `{"a":[1,2]}`, "a.1", false, nil},
		"swapped elements":     {`{"a":[1,2]}`, `{"a":[2,1]}`, "a.0", false, nil},
		"order":                {`{"a":1,"b":2}`, `{"b":2,"a":1}`, "", true, nil},
		"order below":          {`{"a":{"b":1,"c":2}}`, `{"a":{"c":2,"b":1}}`, "a", true, nil},
		"order in an array":    {`{"a":[{"b":1,"c":2}]}`, `{"a":[{"c":2,"b":1}]}`, "a.0", true, nil},
		"order, then a value":  {`{"a":1,"b":2}`, `{"b":3,"a":1}`, "b", false, nil},
		"an array, a document": {`{"a":[1]}`, `{"a":{"0":1}}`, "a", false, nil},
		"numbers as _id":       {`{"_id":1}`, `{"_id":{"$numberDouble":"1.0"}}`, "_id", false, nil},
		"a name with a dot":    {`{"a.b":1}`, `{"a.b":2}`, "a.b", false, []string{`{"$numberInt":"1"}`, `{"$numberInt":"2"}`}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()

			source, target := parse(t, test.source), parse(t, test.target)
			place, found := diff.First(source, target)
			require.True(t, found)
			require.Equal(t, test.path, place.Path())
			require.Equal(t, test.order, place.OrderOnly)

			if test.values != nil {
				require.Equal(t, test.values[0], place.ValueAt(source))
				require.Equal(t, test.values[1], place.ValueAt(target))
			}

			_, found = diff.First(source, source)
			require.False(t, found)
		})
	}
}

// TestNamesThatStandTwice cannot be told apart by name: the documents differ all the same.
func TestNamesThatStandTwice(t *testing.T) {
	t.Parallel()

	a := raw(t, bson.D{{Key: "a", Value: 1}, {Key: "a", Value: 2}})
	b := raw(t, bson.D{{Key: "a", Value: 2}, {Key: "a", Value: 1}})

	place, found := diff.First(a, b)
	require.True(t, found)
	require.False(t, place.OrderOnly)
}

func raw(t *testing.T, document any) bson.Raw {
	t.Helper()

	b, err := bson.Marshal(document)
	require.NoError(t, err)

	return b
}

func parse(t *testing.T, text string) bson.Raw {
	t.Helper()

	var d bson.D
	require.NoError(t, bson.UnmarshalExtJSON([]byte(text), false, &d), text)

	return raw(t, d)
}

func TestAll(t *testing.T) {
	t.Parallel()

	source := parse(t, `{"_id":1,"a":1,"b":{"c":1,"d":[1,{"e":2}]},"f":1,"g":{"h":1,"i":2}}`)
	target := parse(t, `{"_id":1,"a":2,"g":{"i":2,"h":1},"b":{"c":1.5,"d":[1,{"e":3},4]},"j":1}`)

	require.Equal(t, []string{"a", "b.c", "b.d.1.e", "b.d.2", "f", "j"}, diff.All(source, target, 100))
	require.Equal(t, []string{"a", "b.c"}, diff.All(source, target, 2))
	require.Empty(t, diff.All(source, source, 100))
	require.Equal(t, []string{"_id"}, diff.All(parse(t, `{"_id":{"$numberDouble":"NaN"}}`), parse(t, `{"_id":1}`), 100))
	require.NotPanics(t, func() { diff.All(bson.Raw("no BSON at all"), source, 100) })
}

package verify

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/atlas-relay/atlas-relay/e2e/history"
)

// Definitions compares what two sides say of their collections, views and indexes, and returns what differs. Not
// compared are the collections' uuids, the version of the collation library, and the value of expireAfterSeconds: a
// target has the largest one, so that nothing but the source's deletes removes documents there.
func Definitions(source, target []history.Definition) []string {
	left, right := defined(source), defined(target)

	names := slices.AppendSeq(slices.Collect(maps.Keys(left)), maps.Keys(right))
	slices.Sort(names)

	var differences []string

	for _, name := range slices.Compact(names) {
		if left[name] != right[name] {
			differences = append(differences, fmt.Sprintf("%s\n  source %s\n  target %s", name, orAbsent(left[name]), orAbsent(right[name])))
		}
	}

	return differences
}

func orAbsent(definition string) string {
	if definition == "" {
		return "has none"
	}

	return definition
}

// defined is each definition as text, by what it is of.
func defined(definitions []history.Definition) map[string]string {
	all := map[string]string{}

	for _, d := range definitions {
		_, coll, _ := strings.Cut(d.Namespace, ".")
		raw := bson.Raw(d.Definition)

		if d.Index == "" {
			options, _ := raw.Lookup("options").DocumentOK()
			all["collection "+coll] = text(raw, "type") + " " + described(options)
		} else {
			all["index "+d.Index+" of "+coll] = described(raw)
		}
	}

	return all
}

// described writes a definition down, its options in the order of their names.
func described(options bson.Raw) string {
	var fields bson.D

	_ = bson.Unmarshal(options, &fields) // what cannot be read has no options on the other side either, or differs

	lines := make([]string, 0, len(fields))

	for _, el := range fields {
		switch nested, isDocument := el.Value.(bson.D); {
		case el.Key == "uuid":
			continue
		case el.Key == "expireAfterSeconds":
			el.Value = "set"
		case el.Key == "collation" && isDocument:
			el.Value = slices.DeleteFunc(nested, func(f bson.E) bool { return f.Key == "version" })
		}

		lines = append(lines, fmt.Sprintf("%s=%v", el.Key, el.Value))
	}

	slices.Sort(lines)

	return strings.Join(lines, " ")
}

package catalog

import (
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"

	"go.mongodb.org/mongo-driver/v2/bson"
)

// vocabulary says which options of a kind of definition mean something.
type vocabulary struct {
	// ignored is neither compared nor made. How a server stores (engine, format
	// versions, the build of an index) is its own business, and names that it
	// gives (uuid, ns) differ on every one.
	ignored []string
	// defaults are the values that mean the same as the option's absence.
	// Servers write some of them out.
	defaults map[string]string
}

func ofCollections() vocabulary {
	return vocabulary{
		ignored: []string{
			"uuid", "idIndex", "autoIndexId", "flags", "temp", "recordIdsReplicated", "storageEngine", "indexOptionDefaults",
		},
		defaults: map[string]string{
			"capped": "false", "max": "0", "pipeline": "[]", "recordPreImages": "false",
			"validator": "{}", "validationLevel": `"strict"`, "validationAction": `"error"`,
			"changeStreamPreAndPostImages": `{"enabled":false}`,
		},
	}
}

func ofIndexes() vocabulary {
	return vocabulary{
		ignored: []string{
			"v", "ns", "background", "storageEngine", "textIndexVersion", "2dsphereIndexVersion", "commitQuorum",
		},
		defaults: map[string]string{
			"unique": "false", "sparse": "false", "hidden": "false", "prepareUnique": "false",
			"default_language": `"english"`, "language_override": `"language"`, "bits": "26", "min": "-180", "max": "180",
		},
	}
}

// ofCollations: the version is that of the library that the server was built with.
func ofCollations() vocabulary {
	return vocabulary{
		ignored: []string{"version"},
		defaults: map[string]string{
			"caseLevel": "false", "caseFirst": `"off"`, "strength": "3", "numericOrdering": "false",
			"alternate": `"non-ignorable"`, "maxVariable": `"punct"`, "normalization": "false", "backwards": "false",
		},
	}
}

// ofChanges: what a collMod at the source said about itself.
func ofChanges() vocabulary {
	return vocabulary{ignored: []string{"collectionUUID", "dryRun", "isTimeseriesNamespace"}}
}

// simpleCollation compares bytes; servers write it by leaving collation out.
const simpleCollation = "simple"

// hasExpiry stands for every expireAfterSeconds.
const hasExpiry = `"set"`

// Definition is what a collection or an index is, in a form in which two can be
// compared: the options that mean something, each with its value as JSON.
type Definition map[string]string

// CollectionDefinition reads the options that listCollections or a create event
// gives.
func CollectionDefinition(options bson.Raw) Definition {
	d := define(options, ofCollections())

	if clustered, ok := options.Lookup("clusteredIndex").DocumentOK(); ok {
		d["clusteredIndex"] = IndexDefinition(clustered).String()
	}

	return d
}

// IndexDefinition reads the specification of an index that listIndexes or a
// createIndexes event gives.
func IndexDefinition(spec bson.Raw) Definition {
	return define(spec, ofIndexes())
}

func define(options bson.Raw, words vocabulary) Definition {
	d := Definition{}

	elements, _ := options.Elements() // of a server's reply or of an event, which was walked when it was read

	for _, el := range elements {
		key, value := el.Key(), canonical(el.Value())

		switch {
		case slices.Contains(words.ignored, key):
			continue
		case key == "collation":
			value = collation(el.Value())
		case key == expireAfterSeconds:
			value = hasExpiry
		}

		if value != "" && value != words.defaults[key] {
			d[key] = value
		}
	}

	return d
}

// collation returns the empty string for the simple one.
func collation(value bson.RawValue) string {
	doc, ok := value.DocumentOK()
	if !ok {
		return ""
	}

	if locale, _ := doc.Lookup("locale").StringValueOK(); locale == simpleCollation {
		return ""
	}

	return define(doc, ofCollations()).String()
}

// String is the definition as one JSON object, options by name.
func (d Definition) String() string {
	parts := make([]string, 0, len(d))
	for _, name := range slices.Sorted(maps.Keys(d)) {
		parts = append(parts, strconv.Quote(name)+":"+d[name])
	}

	return "{" + strings.Join(parts, ",") + "}"
}

// Equal tells whether both mean the same.
func (d Definition) Equal(other Definition) bool { return maps.Equal(d, other) }

// Without returns the definition less some options.
func (d Definition) Without(names ...string) Definition {
	rest := maps.Clone(d)
	for _, name := range names {
		delete(rest, name)
	}

	return rest
}

// canonical renders a value so that equal ones read equal: a number is its
// value, whatever type holds it.
func canonical(value bson.RawValue) string {
	switch value.Type {
	case bson.TypeInt32, bson.TypeInt64:
		return strconv.FormatInt(value.AsInt64(), 10)
	case bson.TypeDouble:
		f := value.Double()
		if f == math.Trunc(f) && math.Abs(f) < 1<<53 {
			return strconv.FormatInt(int64(f), 10)
		}
	case bson.TypeEmbeddedDocument, bson.TypeArray:
		return canonicalDocument(value)
	default:
	}

	text, err := bson.MarshalExtJSON(bson.D{{Key: "", Value: value}}, true, false)
	if err != nil {
		return fmt.Sprintf("%q", value.Value)
	}

	return strings.TrimSuffix(strings.TrimPrefix(string(text), `{"":`), "}")
}

func canonicalDocument(value bson.RawValue) string {
	elements, err := bson.Raw(value.Value).Elements()
	if err != nil {
		return fmt.Sprintf("%q", value.Value)
	}

	isArray := value.Type == bson.TypeArray
	parts := make([]string, len(elements))

	for i, el := range elements {
		parts[i] = canonical(el.Value())
		if !isArray {
			parts[i] = strconv.Quote(el.Key()) + ":" + parts[i]
		}
	}

	if isArray {
		return "[" + strings.Join(parts, ",") + "]"
	}

	return "{" + strings.Join(parts, ",") + "}"
}

package catalog

import (
	"slices"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/atlas-relay/atlas-relay/pkg/event"
)

// Expiry values of the target, in seconds: the largest that servers take.
const (
	// DormantIndex is the bound of TTL indexes, an int32: 68 years.
	DormantIndex = 1<<31 - 1
	// DormantCollection is that of clustered collections, where the server
	// refuses what reaches back behind 1970; 1.7 billion seconds are 54 years.
	DormantCollection = 1_700_000_000
)

// Dormant returns the expireAfterSeconds that the target gets for one of the
// source: it deletes nothing that the source would not have deleted long before.
// collection says that the value is a clustered collection's own, not an index's.
func Dormant(source bson.RawValue, collection bool) int64 {
	if !collection {
		return DormantIndex
	}

	seconds, _ := source.AsInt64OK()

	return max(seconds, DormantCollection)
}

// Expiry is an expireAfterSeconds that both sides have, of which Compare does not
// look at the values.
type Expiry struct {
	Namespace      event.Namespace
	Index          string // its name; empty: the clustered collection itself expires
	Source, Target int64  // seconds
	Dormant        bool   // the target deletes nothing by itself
}

const expireAfterSeconds = "expireAfterSeconds"

// Expiries returns those that both catalogs have, by namespace and index.
func Expiries(source, target []Collection) []Expiry {
	var found []Expiry

	there := byNamespace(target)

	for i := range source {
		a := &source[i]

		b := there[a.Namespace()]
		if b == nil {
			continue
		}

		found = appendExpiry(found, a.Namespace(), "", a.Options, b.Options)

		for _, spec := range a.Indexes {
			if isOwnIndex(spec) { // it repeats what the collection's options say
				continue
			}

			name := indexName(spec)

			at := slices.IndexFunc(b.Indexes, func(other bson.Raw) bool { return indexName(other) == name })
			if at >= 0 {
				found = appendExpiry(found, a.Namespace(), name, spec, b.Indexes[at])
			}
		}
	}

	slices.SortStableFunc(found, func(a, b Expiry) int { return compareNamespaces(a.Namespace, b.Namespace) })

	return found
}

func appendExpiry(found []Expiry, ns event.Namespace, index string, source, target bson.Raw) []Expiry {
	value := source.Lookup(expireAfterSeconds)
	seconds, expires := value.AsInt64OK()

	there, alsoThere := target.Lookup(expireAfterSeconds).AsInt64OK()
	if !expires || !alsoThere {
		return found
	}

	return append(found, Expiry{
		Namespace: ns, Index: index, Source: seconds, Target: there, Dormant: there >= Dormant(value, index == ""),
	})
}

package verify

import (
	"bytes"
	"context"
	"fmt"
	"math"
	"slices"
	"strings"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"

	"github.com/atlas-relay/atlas-relay/pkg/event"
	"github.com/atlas-relay/atlas-relay/pkg/mongodb"
)

// pair is a namespace in scope on both sides. A side that has no such collection is as one without options and indexes
// (the first insert makes that), and there is nothing to read.
type pair struct {
	namespace      event.Namespace
	source, target *mongodb.Collection // nil: not there
}

// readScope lists the namespaces that the flow replicates, and says which of them hold nothing to compare.
func readScope(ctx context.Context, c *Config) (pairs []pair, notes []string, err error) {
	found := make(map[event.Namespace]*pair)

	note := func(client *mongo.Client, set func(*pair, *mongodb.Collection)) error {
		catalog, err := mongodb.Catalog(ctx, client)
		if err != nil {
			return err
		}

		for i := range catalog {
			ns := event.Namespace{DB: catalog[i].DB, Coll: catalog[i].Name}
			if event.IsInternal(ns) || !c.Filter.Takes(ns) || (len(c.Only) > 0 && !slices.Contains(c.Only, ns)) {
				continue
			}

			if found[ns] == nil {
				found[ns] = &pair{namespace: ns}
			}

			set(found[ns], &catalog[i])
		}

		return nil
	}

	if err := note(c.Source, func(p *pair, of *mongodb.Collection) { p.source = of }); err != nil {
		return nil, nil, ofSource(err)
	}

	if err := note(c.Target, func(p *pair, of *mongodb.Collection) { p.target = of }); err != nil {
		return nil, nil, ofTarget(err)
	}

	for _, p := range found {
		pairs = append(pairs, *p)
	}

	slices.SortFunc(pairs, func(a, b pair) int { return strings.Compare(a.namespace.String(), b.namespace.String()) })

	for i := range pairs {
		switch kind := pairs[i].unread(); {
		case kind != "":
			notes = append(notes, fmt.Sprintf("%s: documents are not compared: a %s has no change events", pairs[i].namespace, kind))
		case pairs[i].simple():
			notes = append(notes, fmt.Sprintf("%s: it has a collation of its own, so the servers had to sort it", pairs[i].namespace))
		}
	}

	return pairs, notes, nil
}

// unread is the type of a namespace without documents of its own; empty for a collection.
func (p *pair) unread() string {
	for _, c := range []*mongodb.Collection{p.source, p.target} {
		if c != nil && (c.Type == "view" || c.Type == "timeseries") {
			return c.Type
		}
	}

	return ""
}

// simple tells that a side has a collation, so that its _id index does not have the order of the other one's bytes.
func (p *pair) simple() bool {
	return p.source != nil && p.source.Collation != "" || p.target != nil && p.target.Collation != ""
}

// compareCatalog finds differing options and indexes.
func compareCatalog(ctx context.Context, c *Config, p *pair) (found []CatalogDifference, notes []string, err error) {
	if p.source != nil && p.target != nil && p.source.Type != p.target.Type {
		return []CatalogDifference{{Namespace: p.namespace.String(), What: "type", Kind: Different}}, nil, nil
	}

	found = optionDifferences(p)

	if p.unread() != "" {
		return found, nil, nil
	}

	source, err := readIndexes(ctx, c.Source, p.namespace, p.source)
	err = ofSource(err)

	if err == nil {
		var target map[string]bson.Raw

		target, err = readIndexes(ctx, c.Target, p.namespace, p.target)
		if err == nil {
			return append(found, indexDifferences(p.namespace, source, target)...), nil, nil
		}

		err = ofTarget(err)
	}

	if mongodb.IsUnauthorized(err) {
		return found, []string{fmt.Sprintf("%s: indexes are not compared: the user lacks listIndexes (deploy/mongodb/verify-role.js)", p.namespace)}, nil
	}

	return nil, nil, err
}

func optionDifferences(p *pair) []CatalogDifference {
	var source, target bson.Raw

	if p.source != nil {
		source = p.source.Options
	}

	if p.target != nil {
		target = p.target.Options
	}

	return fieldDifferences(source, target, isOwnOption, func(name string, kind Kind) CatalogDifference {
		return CatalogDifference{Namespace: p.namespace.String(), What: "option", Name: name, Kind: kind}
	})
}

// isOwnOption are options that say how a deployment stores, not what.
func isOwnOption(name string, _, _ bson.RawValue) bool {
	return name == "uuid" || name == "storageEngine" || name == "autoIndexId" || name == "idIndex"
}

// fieldDifferences compares two documents field by field, whatever their order.
func fieldDifferences[D any](source, target bson.Raw, ignored func(string, bson.RawValue, bson.RawValue) bool, as func(string, Kind) D) []D {
	var found []D

	left, _ := source.Elements()
	right, _ := target.Elements()

	for _, el := range left {
		other, err := target.LookupErr(el.Key())

		switch {
		case ignored(el.Key(), el.Value(), other):
		case err != nil:
			found = append(found, as(el.Key(), Missing))
		case !sameButOrder(el.Value(), other):
			found = append(found, as(el.Key(), Different))
		}
	}

	for _, el := range right {
		if _, err := source.LookupErr(el.Key()); err != nil && !ignored(el.Key(), bson.RawValue{}, el.Value()) {
			found = append(found, as(el.Key(), Extra))
		}
	}

	return found
}

// readIndexes returns the definitions of a collection's indexes by name, that of _id excepted: it has none to choose.
func readIndexes(ctx context.Context, client *mongo.Client, ns event.Namespace, of *mongodb.Collection) (map[string]bson.Raw, error) {
	indexes := make(map[string]bson.Raw)
	if of == nil {
		return indexes, nil
	}

	cursor, err := client.Database(ns.DB).Collection(ns.Coll).Indexes().List(ctx)
	if err != nil {
		return nil, fmt.Errorf("list the indexes of %s: %w", ns, err)
	}
	defer cursor.Close(ctx)

	for cursor.Next(ctx) {
		name, _ := cursor.Current.Lookup("name").StringValueOK()
		if name != "_id_" {
			indexes[name] = bytes.Clone(cursor.Current)
		}
	}

	if err := cursor.Err(); err != nil {
		return nil, fmt.Errorf("list the indexes of %s: %w", ns, err)
	}

	return indexes, nil
}

func indexDifferences(ns event.Namespace, source, target map[string]bson.Raw) []CatalogDifference {
	var found []CatalogDifference

	of := func(name string, kind Kind, field string) CatalogDifference {
		return CatalogDifference{Namespace: ns.String(), What: "index", Name: name, Kind: kind, Field: field}
	}

	for name, index := range source {
		other, both := target[name]
		if !both {
			found = append(found, of(name, Missing, ""))

			continue
		}

		if !bytes.Equal(index.Lookup("key").Value, other.Lookup("key").Value) { // the order of its fields counts
			found = append(found, of(name, Different, "key"))
		}

		found = append(found, fieldDifferences(index, other, isOwnOfIndex, func(field string, _ Kind) CatalogDifference {
			return of(name, Different, field)
		})...)
	}

	for name := range target {
		if source[name] == nil {
			found = append(found, of(name, Extra, ""))
		}
	}

	slices.SortFunc(found, func(a, b CatalogDifference) int {
		return strings.Compare(a.Name+"\x00"+a.Field, b.Name+"\x00"+b.Field)
	})

	return found
}

// isOwnOfIndex are fields that say how a server keeps an index; its key is compared apart.
func isOwnOfIndex(name string, source, target bson.RawValue) bool {
	switch name {
	case "v", "ns", "background", "key":
		return true
	case "expireAfterSeconds":
		return source.Type != 0 && isHeldTTL(target)
	default:
		return false
	}
}

// heldTTL is the largest that MongoDB takes: documents on the target leave when they leave on the source, not by
// themselves.
const heldTTL = math.MaxInt32

// isHeldTTL tells that the relay keeps a TTL index of the target from deleting.
func isHeldTTL(expireAfterSeconds bson.RawValue) bool {
	seconds, ok := expireAfterSeconds.AsInt64OK()

	return ok && seconds == heldTTL
}

package live

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
)

// Definitions compares what two databases say of their collections, views and indexes, and returns what differs. Not
// compared are the collections' uuids, the version of the collation library, and the value of expireAfterSeconds: a
// target has the largest one, so that nothing but the source's deletes removes documents there.
//
// It reads the raw replies of listCollections and listIndexes by its own rules: what the services think equal is not asked.
func Definitions(ctx context.Context, source, target *mongo.Database) ([]string, error) {
	left, err := definitionsOf(ctx, source)
	if err != nil {
		return nil, err
	}

	right, err := definitionsOf(ctx, target)
	if err != nil {
		return nil, err
	}

	names := slices.AppendSeq(slices.Collect(maps.Keys(left)), maps.Keys(right))
	slices.Sort(names)

	var differences []string

	for _, name := range slices.Compact(names) {
		if left[name] != right[name] {
			differences = append(differences, fmt.Sprintf("%s\n  source %s\n  target %s", name, orAbsent(left[name]), orAbsent(right[name])))
		}
	}

	return differences, nil
}

func orAbsent(definition string) string {
	if definition == "" {
		return "has none"
	}

	return definition
}

// definitionsOf lists collections and their indexes by name, each with its definition as text.
func definitionsOf(ctx context.Context, db *mongo.Database) (map[string]string, error) {
	cursor, err := db.ListCollections(ctx, bson.D{})
	if err != nil {
		return nil, fmt.Errorf("list the collections of %s: %w", db.Name(), err)
	}

	var collections []struct {
		Name    string `bson:"name"`
		Type    string `bson:"type"`
		Options bson.D `bson:"options"`
	}
	if err := cursor.All(ctx, &collections); err != nil {
		return nil, fmt.Errorf("list the collections of %s: %w", db.Name(), err)
	}

	all := map[string]string{}

	for _, c := range collections {
		if strings.HasPrefix(c.Name, "system.") {
			continue
		}

		all["collection "+c.Name] = c.Type + " " + text(c.Options)

		if c.Type == "view" {
			continue
		}

		cursor, err := db.Collection(c.Name).Indexes().List(ctx)
		if err != nil {
			return nil, fmt.Errorf("list the indexes of %s.%s: %w", db.Name(), c.Name, err)
		}

		var indexes []bson.D
		if err := cursor.All(ctx, &indexes); err != nil {
			return nil, fmt.Errorf("list the indexes of %s.%s: %w", db.Name(), c.Name, err)
		}

		for _, index := range indexes {
			all[fmt.Sprintf("index %v of %s", valueOf(index, "name"), c.Name)] = text(index)
		}
	}

	return all, nil
}

func valueOf(doc bson.D, key string) any {
	for _, el := range doc {
		if el.Key == key {
			return el.Value
		}
	}

	return nil
}

// text writes a definition down, its options in the order of their names.
func text(options bson.D) string {
	lines := make([]string, 0, len(options))

	for _, el := range options {
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

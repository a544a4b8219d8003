package apply

import (
	"fmt"
	"slices"
	"strings"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/x/bsonx/bsoncore"

	"github.com/atlas-relay/atlas-relay/pkg/event"
)

// delta is an updateDescription as update documents, in the order in which they
// have to run. Most deltas need one; a truncated array whose elements changed
// too needs two, because one update must not name the same path twice.
type delta []bson.Raw

// parseDelta turns an updateDescription into updates. ok is false when the
// description has more than one reading (a field name with a dot or a leading
// $): only the source's document can then be applied.
//
// A number that could be a name or an index has one reading here: the source
// ran the same path on the same document, and what it is there it is here.
func parseDelta(description bson.Raw) (d delta, ok bool, err error) {
	updated, assigned, err := keys(description, "updatedFields")
	if err != nil {
		return nil, false, err
	}

	removed, err := removedFields(description)
	if err != nil {
		return nil, false, err
	}

	truncated, err := truncatedArrays(description)
	if err != nil {
		return nil, false, err
	}

	ambiguous, err := hasAmbiguousPath(description)
	if err != nil {
		return nil, false, err
	}

	paths := slices.Concat(assigned, removed)
	cut := arrays(truncated)

	if ambiguous || !plain(paths) || !plain(cut) || overlap(paths) || overlap(cut) {
		return nil, false, nil
	}

	if len(truncated) > 0 {
		// Elements are set after their array was cut. Setting the array itself,
		// or what it stands in, beside cutting it has no single reading.
		if inside(cut, set(paths)) {
			return nil, false, nil
		}

		d = append(d, truncation(truncated))
	}

	if len(paths) > 0 {
		d = append(d, setAndUnset(updated, removed))
	}

	return d, true, nil
}

type truncatedArray struct {
	field string
	size  int32
}

// truncation is {$push: {field: {$each: [], $slice: size}}}: the only update
// operator that shortens an array.
func truncation(truncated []truncatedArray) bson.Raw {
	pushes := bsoncore.NewDocumentBuilder()
	empty := bsoncore.NewArrayBuilder().Build()

	for _, array := range truncated {
		pushes.AppendDocument(array.field,
			bsoncore.NewDocumentBuilder().AppendArray("$each", empty).AppendInt32("$slice", array.size).Build())
	}

	return bson.Raw(bsoncore.NewDocumentBuilder().AppendDocument("$push", pushes.Build()).Build())
}

// emptyDocument is the size of {} in bytes.
const emptyDocument = 5

func setAndUnset(updated bson.Raw, removed []string) bson.Raw {
	update := bsoncore.NewDocumentBuilder()
	if len(updated) > emptyDocument {
		update.AppendDocument("$set", bsoncore.Document(updated))
	}

	if len(removed) > 0 {
		unset := bsoncore.NewDocumentBuilder()
		for _, field := range removed {
			unset.AppendString(field, "")
		}

		update.AppendDocument("$unset", unset.Build())
	}

	return bson.Raw(update.Build())
}

func subDocument(description bson.Raw, field string) (bson.Raw, error) {
	value := description.Lookup(field)
	if value.IsZero() || value.Type == bson.TypeNull {
		return nil, nil // the server leaves out what is empty
	}

	doc, ok := value.DocumentOK()
	if !ok {
		return nil, fmt.Errorf("updateDescription.%s: %w", field, event.ErrMalformed)
	}

	return doc, nil
}

func list(description bson.Raw, field string) ([]bson.RawValue, error) {
	value := description.Lookup(field)
	if value.IsZero() || value.Type == bson.TypeNull {
		return nil, nil // the server leaves out what is empty
	}

	array, ok := value.ArrayOK()
	if !ok {
		return nil, fmt.Errorf("updateDescription.%s: %w", field, event.ErrMalformed)
	}

	values, err := array.Values()
	if err != nil {
		return nil, fmt.Errorf("updateDescription.%s: %w: %w", field, event.ErrMalformed, err)
	}

	return values, nil
}

func removedFields(description bson.Raw) ([]string, error) {
	values, err := list(description, "removedFields")
	if err != nil {
		return nil, err
	}

	fields := make([]string, len(values))

	for i, value := range values {
		name, ok := value.StringValueOK()
		if !ok {
			return nil, fmt.Errorf("updateDescription.removedFields: %w", event.ErrMalformed)
		}

		fields[i] = name
	}

	return fields, nil
}

func truncatedArrays(description bson.Raw) ([]truncatedArray, error) {
	values, err := list(description, "truncatedArrays")
	if err != nil {
		return nil, err
	}

	truncated := make([]truncatedArray, len(values))

	for i, value := range values {
		doc, ok := value.DocumentOK()
		if !ok {
			return nil, fmt.Errorf("updateDescription.truncatedArrays: %w", event.ErrMalformed)
		}

		field, okField := doc.Lookup("field").StringValueOK()
		size, okSize := doc.Lookup("newSize").AsInt64OK()

		if !okField || !okSize || size < 0 || size > 1<<24 {
			return nil, fmt.Errorf("updateDescription.truncatedArrays: %w", event.ErrMalformed)
		}

		truncated[i] = truncatedArray{field: field, size: int32(size)}
	}

	return truncated, nil
}

// keys returns the names of a sub-document's fields; an absent one has none.
func keys(description bson.Raw, field string) (doc bson.Raw, names []string, err error) {
	doc, err = subDocument(description, field)
	if err != nil || doc == nil {
		return nil, nil, err
	}

	elements, err := doc.Elements()
	if err != nil {
		return nil, nil, fmt.Errorf("updateDescription.%s: %w: %w", field, event.ErrMalformed, err)
	}

	names = make([]string, len(elements))
	for i, el := range elements {
		names[i] = el.Key()
	}

	return doc, names, nil
}

// hasAmbiguousPath tells whether disambiguatedPaths names a path that an update
// operator would read in another way: one of its names has a dot in it. The
// server lists paths with numbers too, as names (strings) or indexes (integers).
func hasAmbiguousPath(description bson.Raw) (bool, error) {
	paths, err := subDocument(description, "disambiguatedPaths")
	if err != nil || paths == nil {
		return false, err
	}

	elements, err := paths.Elements()
	if err != nil {
		return false, fmt.Errorf("updateDescription.disambiguatedPaths: %w: %w", event.ErrMalformed, err)
	}

	for _, el := range elements {
		array, ok := el.Value().ArrayOK()
		if !ok {
			return false, fmt.Errorf("updateDescription.disambiguatedPaths: %w", event.ErrMalformed)
		}

		components, err := array.Values()
		if err != nil {
			return false, fmt.Errorf("updateDescription.disambiguatedPaths: %w: %w", event.ErrMalformed, err)
		}

		// Dots within a name make the path longer than its names.
		if len(components) != strings.Count(el.Key(), ".")+1 {
			return true, nil
		}
	}

	return false, nil
}

func arrays(truncated []truncatedArray) []string {
	names := make([]string, len(truncated))
	for i, array := range truncated {
		names[i] = array.field
	}

	return names
}

// plain tells whether every path has one reading as an update operator's path.
func plain(paths []string) bool {
	for _, path := range paths {
		for component := range strings.SplitSeq(path, ".") {
			if component == "" || component[0] == '$' {
				return false
			}
		}
	}

	return true
}

// overlap tells whether a path is another one or lies within it.
func overlap(paths []string) bool {
	all := set(paths)

	return len(all) < len(paths) || slices.ContainsFunc(paths, func(path string) bool { return hasContainer(path, all) })
}

// inside tells whether one of the paths is in the set or lies within one of it.
func inside(paths []string, containers map[string]struct{}) bool {
	return slices.ContainsFunc(paths, func(path string) bool {
		_, itself := containers[path]

		return itself || hasContainer(path, containers)
	})
}

// hasContainer tells whether a proper prefix of the path is in the set.
func hasContainer(path string, all map[string]struct{}) bool {
	for i := range len(path) {
		if path[i] != '.' {
			continue
		}

		if _, found := all[path[:i]]; found {
			return true
		}
	}

	return false
}

func set(paths []string) map[string]struct{} {
	all := make(map[string]struct{}, len(paths))
	for _, path := range paths {
		all[path] = struct{}{}
	}

	return all
}

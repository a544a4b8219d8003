package catalog

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/atlas-relay/atlas-relay/pkg/event"
)

// Difference is one thing in which two catalogs differ.
type Difference struct {
	Namespace event.Namespace
	// What differs: "collection", "view", "option validator", "index email_1".
	What string
	// The definitions, or the values of the option; empty where there is none.
	Source, Target string
	// Options are those in which an index that both sides have differs.
	Options []OptionDifference
}

// OptionDifference is an option with its values; empty where a side leaves it out.
type OptionDifference struct {
	Name, Source, Target string
}

// IsMissing tells whether the target lacks a collection, view or index. Making
// it takes nothing away from anybody. An option that is missing is no such case.
func (d Difference) IsMissing() bool { return d.Target == "" && !d.IsOption() }

// IsExtra tells whether the target has a collection, view or index that the
// source does not have.
func (d Difference) IsExtra() bool { return d.Source == "" && !d.IsOption() }

// IsOption tells whether an option of a collection or view differs.
func (d Difference) IsOption() bool {
	return strings.HasPrefix(d.What, option)
}

// Name is that of the option or index; empty where the collection or view itself
// is missing or extra.
func (d Difference) Name() string {
	if name, ok := strings.CutPrefix(d.What, option); ok {
		return name
	}

	if name, ok := strings.CutPrefix(d.What, index); ok {
		return name
	}

	return ""
}

// Kind is what is compared: "collection", "view", "option" or "index".
func (d Difference) Kind() string {
	kind, _, _ := strings.Cut(d.What, " ")

	return kind
}

// What is compared by name begins with one of these.
const (
	option = "option "
	index  = "index "
)

// String says what differs, in one line.
func (d Difference) String() string { return d.Namespace.String() + ": " + d.Detail() }

// Detail is String without the namespace.
func (d Difference) Detail() string {
	switch {
	case d.IsMissing():
		return fmt.Sprintf("%s is missing on the target: %s", d.What, d.Source)
	case d.IsExtra():
		return fmt.Sprintf("%s is on the target only: %s", d.What, d.Target)
	default:
		return fmt.Sprintf("%s differs: source %s, target %s", d.What, orNone(d.Source), orNone(d.Target))
	}
}

func orNone(value string) string {
	if value == "" {
		return "none"
	}

	return value
}

// Compare returns in what two catalogs differ, by namespace. Not compared is what
// Definition leaves out: uuids, how a server stores, the values of expiries. The
// indexes of a collection that only one side has are not listed one by one.
func Compare(source, target []Collection) []Difference {
	left, right := byNamespace(source), byNamespace(target)

	all := slices.Collect(maps.Keys(left))
	for ns := range right {
		if _, both := left[ns]; !both {
			all = append(all, ns)
		}
	}

	slices.SortFunc(all, compareNamespaces)

	var found []Difference

	for _, ns := range all {
		a, b := left[ns], right[ns]

		switch {
		case b == nil:
			found = append(found, Difference{Namespace: ns, What: a.Type, Source: CollectionDefinition(a.Options).String()})
		case a == nil:
			found = append(found, Difference{Namespace: ns, What: b.Type, Target: CollectionDefinition(b.Options).String()})
		default:
			found = append(found, compareOptions(a, b)...)
			found = append(found, compareIndexes(ns, a.Indexes, b.Indexes)...)
		}
	}

	return found
}

func byNamespace(list []Collection) map[event.Namespace]*Collection {
	m := make(map[event.Namespace]*Collection, len(list))
	for i := range list {
		m[list[i].Namespace()] = &list[i]
	}

	return m
}

func compareOptions(a, b *Collection) []Difference {
	left, right := CollectionDefinition(a.Options), CollectionDefinition(b.Options)
	left["type"], right["type"] = a.Type, b.Type

	var found []Difference
	for _, d := range compareByName(left, right) {
		found = append(found, Difference{Namespace: a.Namespace(), What: option + d.Name, Source: d.Source, Target: d.Target})
	}

	return found
}

func compareIndexes(ns event.Namespace, source, target []bson.Raw) []Difference {
	left, right := indexesByName(source), indexesByName(target)

	var found []Difference

	for _, d := range compareByName(written(left), written(right)) {
		difference := Difference{Namespace: ns, What: index + d.Name, Source: d.Source, Target: d.Target}
		if d.Source != "" && d.Target != "" {
			difference.Options = compareByName(left[d.Name], right[d.Name])
		}

		found = append(found, difference)
	}

	return found
}

// compareByName compares what has a name: options, or indexes.
func compareByName(source, target map[string]string) []OptionDifference {
	names := slices.AppendSeq(slices.Collect(maps.Keys(source)), maps.Keys(target))
	slices.Sort(names)

	var found []OptionDifference

	for _, name := range slices.Compact(names) {
		if source[name] != target[name] {
			found = append(found, OptionDifference{Name: name, Source: source[name], Target: target[name]})
		}
	}

	return found
}

func indexesByName(specs []bson.Raw) map[string]Definition {
	m := make(map[string]Definition, len(specs))

	for _, spec := range specs {
		if !isOwnIndex(spec) {
			m[indexName(spec)] = IndexDefinition(spec)
		}
	}

	return m
}

func written(definitions map[string]Definition) map[string]string {
	m := make(map[string]string, len(definitions))
	for name, definition := range definitions {
		m[name] = definition.String()
	}

	return m
}

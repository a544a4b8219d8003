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
			found = append(found, compareByName(ns, index, indexesByName(a.Indexes), indexesByName(b.Indexes))...)
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

	return compareByName(a.Namespace(), option, left, right)
}

// compareByName compares what has a name: options, or indexes.
func compareByName(ns event.Namespace, what string, source, target map[string]string) []Difference {
	names := slices.AppendSeq(slices.Collect(maps.Keys(source)), maps.Keys(target))
	slices.Sort(names)

	var found []Difference

	for _, name := range slices.Compact(names) {
		if source[name] != target[name] {
			found = append(found, Difference{Namespace: ns, What: what + name, Source: source[name], Target: target[name]})
		}
	}

	return found
}

func indexesByName(specs []bson.Raw) map[string]string {
	m := make(map[string]string, len(specs))

	for _, spec := range specs {
		if !isOwnIndex(spec) {
			m[indexName(spec)] = IndexDefinition(spec).String()
		}
	}

	return m
}

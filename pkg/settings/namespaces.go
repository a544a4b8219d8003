package settings

import (
	"fmt"
	"slices"
	"strings"
)

// Namespaces is a comma list of namespaces: db.coll, or db.* for every collection of a database.
type Namespaces []Namespace

// Namespace is one entry of the list. A collection name may hold dots; a database name may not.
type Namespace string

// Match tells whether some entry names the collection. An empty list matches nothing.
func (n Namespaces) Match(db, coll string) bool {
	return slices.ContainsFunc(n, func(entry Namespace) bool { return entry.Match(db, coll) })
}

// Match tells whether the entry names the collection.
func (n Namespace) Match(db, coll string) bool {
	wantDB, wantColl, _ := strings.Cut(string(n), ".")

	return db == wantDB && (wantColl == "*" || coll == wantColl)
}

// UnmarshalText reads the comma list; blanks around an entry are ignored.
func (n *Namespaces) UnmarshalText(text []byte) error {
	var list Namespaces

	for item := range strings.SplitSeq(string(text), ",") {
		entry := strings.TrimSpace(item)

		db, coll, found := strings.Cut(entry, ".")
		if !found || db == "" || coll == "" || strings.ContainsAny(db, "*$ /\\\"") || strings.Contains(coll, "$") {
			return fmt.Errorf("%q is not a namespace", entry)
		}

		if strings.Contains(coll, "*") && coll != "*" {
			return fmt.Errorf("%q uses * as a part of a name", entry)
		}

		list = append(list, Namespace(entry))
	}

	*n = list

	return nil
}

// String is the written form.
func (n Namespaces) String() string { return strings.Join(n.Patterns(), ",") }

// Patterns returns the entries as event.ParseFilter takes them.
func (n Namespaces) Patterns() []string {
	patterns := make([]string, len(n))
	for i, entry := range n {
		patterns[i] = string(entry)
	}

	return patterns
}

package event

import (
	"errors"
	"fmt"
	"slices"
	"strings"
)

// Filter chooses the namespaces of a flow. The zero Filter takes every
// namespace that can be replicated at all.
type Filter struct {
	include []pattern
	exclude []pattern
}

// pattern names a collection, or all of a database where coll is "*".
type pattern struct{ db, coll string }

const allCollections = "*"

// ParseFilter reads patterns of the forms "db.coll" and "db.*"; a collection
// name may contain dots. No include pattern means all; exclude wins. The error
// lists every bad pattern: another form, a name that MongoDB does not allow, or
// an include of a namespace that is never replicated (see IsInternal).
func ParseFilter(include, exclude []string) (Filter, error) {
	var (
		f    Filter
		errs []error
	)

	for _, text := range include {
		p, err := parsePattern(text)
		if err == nil && IsInternal(Namespace{DB: p.db, Coll: p.coll}) {
			err = fmt.Errorf("include %q: a namespace of the server or the relay itself is never replicated", text)
		}

		f.include, errs = append(f.include, p), append(errs, err)
	}

	for _, text := range exclude {
		p, err := parsePattern(text)
		f.exclude, errs = append(f.exclude, p), append(errs, err)
	}

	if err := errors.Join(errs...); err != nil {
		return Filter{}, err
	}

	return f, nil
}

func parsePattern(text string) (pattern, error) {
	text = strings.TrimSpace(text)
	db, coll, _ := strings.Cut(text, ".")

	switch {
	case db == "" || coll == "":
		return pattern{}, fmt.Errorf("namespace pattern %q: write db.coll or db.*", text)
	case strings.Contains(db, "*"), coll != allCollections && strings.Contains(coll, "*"):
		return pattern{}, fmt.Errorf("namespace pattern %q: * stands only for all collections of a database: db.*", text)
	case strings.ContainsAny(db, "/\\ \"$\x00"), strings.ContainsAny(coll, "$\x00"):
		return pattern{}, fmt.Errorf("namespace pattern %q: a name has a character that MongoDB does not allow", text)
	}

	return pattern{db: db, coll: coll}, nil
}

// Takes tells whether events of the namespace are replicated. An event of a
// whole database (Coll empty) is taken if any collection of it could be; one of
// the whole cluster (both empty) always is.
func (f Filter) Takes(ns Namespace) bool {
	if ns.DB == "" {
		return true
	}

	if IsInternal(ns) {
		return false
	}

	excluded := slices.ContainsFunc(f.exclude, func(p pattern) bool { return p.covers(ns) })
	if excluded || len(f.include) == 0 {
		return !excluded
	}

	return slices.ContainsFunc(f.include, func(p pattern) bool {
		return p.covers(ns) || (ns.Coll == "" && p.db == ns.DB)
	})
}

// TakesAll tells whether events of every collection of the database are replicated,
// the server's own excepted.
func (f Filter) TakesAll(db string) bool {
	if IsInternal(Namespace{DB: db}) || slices.ContainsFunc(f.exclude, func(p pattern) bool { return p.db == db }) {
		return false
	}

	return len(f.include) == 0 || slices.Contains(f.include, pattern{db: db, coll: allCollections})
}

// covers tells whether everything that the namespace means matches.
func (p pattern) covers(ns Namespace) bool {
	return p.db == ns.DB && (p.coll == allCollections || (ns.Coll != "" && p.coll == ns.Coll))
}

// IsInternal tells whether the namespace is the server's own (admin, config,
// local, system.*) or the relay's (atlas_relay). Its events are neither
// replicated nor counted. The buckets of time series (system.buckets.*) are
// among them: MongoDB has no change streams on time series collections.
func IsInternal(ns Namespace) bool {
	switch ns.DB {
	case "admin", "config", "local", "atlas_relay":
		return true
	default:
		return strings.HasPrefix(ns.Coll, "system.")
	}
}

package verify

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"go.mongodb.org/mongo-driver/v2/mongo"

	"github.com/atlas-relay/atlas-relay/pkg/event"
	"github.com/atlas-relay/atlas-relay/pkg/mongodb"
)

// pair is a namespace in scope on both sides.
type pair struct {
	namespace      event.Namespace
	source, target *mongodb.Collection // nil: not there
}

// takes tells whether a namespace is to be compared.
func (c *Config) takes(ns event.Namespace) bool {
	return !event.IsInternal(ns) && c.Filter.Takes(ns) && (len(c.Only) == 0 || slices.Contains(c.Only, ns))
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
			if !c.takes(ns) {
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

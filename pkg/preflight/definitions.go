package preflight

import (
	"context"
	"strings"

	"github.com/atlas-relay/atlas-relay/pkg/catalog"
	"github.com/atlas-relay/atlas-relay/pkg/event"
)

// definitions is how the catalogs of both sides differ in what is in scope.
type definitions struct {
	differences []catalog.Difference
	err         error // they could not be read
}

// compareDefinitions keeps only what both sides have: a flow makes what is
// missing, and leaves alone what the target has more.
func compareDefinitions(ctx context.Context, w *World) definitions {
	source, err := catalog.Read(ctx, w.source.client, w.Filter)
	if err != nil {
		return definitions{err: err}
	}

	target, err := catalog.Read(ctx, w.target.client, w.Filter)
	if err != nil {
		return definitions{err: err}
	}

	var d definitions

	for _, difference := range catalog.Compare(source, target) {
		if !difference.IsMissing() && !difference.IsExtra() {
			d.differences = append(d.differences, difference)
		}
	}

	return d
}

// sameOptions reports the collections whose options differ, each once.
func sameOptions(ctx context.Context, w *World) []Finding {
	w.definitions = compareDefinitions(ctx, w)

	return w.differing(catalog.Difference.IsOption)
}

func sameIndexes(_ context.Context, w *World) []Finding {
	return w.differing(func(d catalog.Difference) bool { return !d.IsOption() })
}

func (w *World) differing(in func(catalog.Difference) bool) []Finding {
	if w.definitions.err != nil {
		return one(unknown(w.target.where(), reason(w.definitions.err)))
	}

	var (
		order []event.Namespace
		texts = map[event.Namespace][]string{}
	)

	for _, d := range w.definitions.differences {
		if !in(d) {
			continue
		}

		if texts[d.Namespace] == nil {
			order = append(order, d.Namespace)
		}

		texts[d.Namespace] = append(texts[d.Namespace], d.Detail())
	}

	var found []Finding
	for _, ns := range order {
		found = append(found, fail(ns.String(), "source and target differ: %s", strings.Join(texts[ns], "; ")))
	}

	return found
}

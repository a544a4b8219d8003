package routing

import (
	"strings"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/atlas-relay/atlas-relay/pkg/event"
	"github.com/atlas-relay/atlas-relay/pkg/mongodb"
)

// Prefixes of names that the server gives: the buckets of a time series, and the
// collections beside one with queryable encryption.
const (
	bucketsPrefix   = "system.buckets."
	companionPrefix = "enxcol_."
)

const (
	collectionType = "collection"
	viewType       = "view"
	timeSeriesType = "timeseries"
)

// IsBarrier tells whether all partitions have to stop at the event: a schema change
// that the target repeats, or that changes the table. What else concerns more than a
// document, and a time series, whose data no change stream carries, is published to
// one partition and only noted there.
func IsBarrier(e *event.Event) bool {
	return e.Operation.IsSchemaChange() && (e.Operation != event.Create || created(e).Type != timeSeriesType)
}

// IsSkipped tells whether no event of the collection can be applied, whatever its
// operation, and why. The create of an encrypted collection is none of them: it is
// how an operator learns of it.
func (t *Table) IsSkipped(e *event.Event) (why string, skipped bool) {
	if strings.HasPrefix(e.Namespace.Coll, companionPrefix) {
		return "the server's own collection beside an encrypted one", true
	}

	if entry, ok := t.Find(e); ok && entry.Encrypted && e.Operation != event.Create {
		return "it is encrypted (queryable encryption)", true
	}

	return "", false
}

// created returns the collection that a create event tells of.
func created(e *event.Event) *mongodb.Collection {
	var options bson.Raw
	options, _ = e.Raw.Lookup("operationDescription").DocumentOK()

	c := mongodb.ParseCollection(e.Namespace.DB, e.Namespace.Coll, typeOf(e, options), options)

	return &c
}

// typeOf: nsType came with MongoDB 8.1; before, the options tell.
func typeOf(e *event.Event, options bson.Raw) string {
	if kind, ok := e.Raw.Lookup("nsType").StringValueOK(); ok {
		return kind
	}

	on, isView := options.Lookup("viewOn").StringValueOK()
	_, isTimeSeries := options.Lookup("timeseries").DocumentOK()

	switch {
	case isTimeSeries, strings.HasPrefix(on, bucketsPrefix):
		return timeSeriesType
	case isView:
		return viewType
	default:
		return collectionType
	}
}

// Package refetch asks the active listener for a document as the source has it now, over NATS.
//
// It is what a delta needs that no longer fits the target's document. The listener takes T, the operation time of a
// majority read, before it reads the document with majority and afterClusterTime T. So the image holds every change up
// to T, and perhaps later ones: events up to T are covered by it, later ones are applied onto it. The reply's own
// operation time would be newer than the image.
package refetch

import (
	"errors"

	"go.mongodb.org/mongo-driver/v2/bson"
)

// Image is a document of the source, or its absence.
type Image struct {
	Document bson.Raw // nil when the source has no such document
	// Time is T: every event of the document with a cluster time up to it is in the image.
	Time bson.Timestamp
}

// ErrNoListener says that no active listener answers. Ask again later.
var ErrNoListener = errors.New("no active listener answers")

// Subject returns the subject that a flow's active listener answers on.
func Subject(flow string) string { return "relay." + flow + ".refetch" }

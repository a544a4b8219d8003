// Package refetch asks the active listener for a document as the source has it now, over NATS.
//
// It is what a delta needs that no longer fits the target's document. The listener takes T, the operation time of a
// majority read, before it reads the document with majority and afterClusterTime T. So the image holds every change up
// to T, and perhaps later ones: events up to T are covered by it, later ones are applied onto it. The reply's own
// operation time would be newer than the image.
//
//	Client                                              Responder
//	  │ relay.<flow>.refetch: namespace, key, not before    │
//	  │────────────────────────────────────────────────────▶│ T, then the document
//	  │ part 1/n, head: answer id, T, SHA-256               │
//	  │◀────────────────────────────────────────────────────│
//	  │ part n/n, same head                                 │
//	  │◀────────────────────────────────────────────────────│
//
// An image is returned only when all parts of one answer came, in order, with the right sum, for the document that was
// asked for. Anything else is an error: there is no wrong image.
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

// ErrNoListener says that no active listener answers, or not in time, or not whole. Ask again later.
var ErrNoListener = errors.New("no active listener answers")

// ReadError says that the active listener answered, but without an image.
type ReadError struct {
	// Reason is for people. It holds no content of documents.
	Reason string
	// Transient tells that the same request can succeed later without anybody changing anything. Otherwise it fails
	// again: the namespace is not of this flow, the key is no key.
	Transient bool
}

func (e *ReadError) Error() string { return "the listener could not read the document: " + e.Reason }

// Subject returns the subject that a flow's active listener answers on.
func Subject(flow string) string { return "relay." + flow + ".refetch" }

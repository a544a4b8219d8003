package verify

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/atlas-relay/atlas-relay/pkg/event"
)

// Outcome is what a verification comes to.
type Outcome string

// The outcomes.
const (
	Equal      Outcome = "equal"
	Unequal    Outcome = "different"
	NotSettled Outcome = "not settled" // no difference, but of some documents nobody can tell
)

// Cause is what is known of a difference.
type Cause string

// The causes.
const (
	Unexplained Cause = "unexplained"
	Parked      Cause = "parked"      // a change of the document is set aside, and retried
	DeadLetter  Cause = "dead letter" // a change of the document was given up
	Unknown     Cause = "not settled" // the document or the flow did not hold still: it may be in flight
)

// Difference is a document that is not the same on both sides.
type Difference struct {
	Namespace string          `json:"namespace"`
	ID        json.RawMessage `json:"_id"` // canonical extended JSON
	Kind      Kind            `json:"kind,omitempty"`
	// Field is the first one that differs, with dots; empty when the document is missing or extra.
	Field  string `json:"field,omitempty"`
	Cause  Cause  `json:"cause"`
	Letter string `json:"letter,omitempty"` // name of the parked record or dead letter
	// Values at Field, extended JSON, when they were asked for.
	Source string `json:"source,omitempty"`
	Target string `json:"target,omitempty"`
}

// CatalogDifference is a definition that is not the same on both sides.
type CatalogDifference struct {
	Namespace string `json:"namespace"`
	What      string `json:"what"` // "collection", "view", "type" (which of them it is), "option" or "index"
	Name      string `json:"name"`
	Kind      Kind   `json:"kind"`            // Missing, Extra or Different
	Field     string `json:"field,omitempty"` // of an index: what differs
	Cause     Cause  `json:"cause"`           // Unexplained, or Unknown: it may be in flight
	// Definitions, or values of the option or field, as JSON; empty where there is none.
	Source string `json:"source,omitempty"`
	Target string `json:"target,omitempty"`
}

// whatType: one side has a collection where the other one has a view.
const whatType = "type"

func (d CatalogDifference) isOpen() bool { return d.Cause == Unknown }

// String is the difference on one line, without the definitions.
func (d CatalogDifference) String() string {
	text := strings.Join(slices.DeleteFunc([]string{d.What, d.Name, d.Field}, func(part string) bool { return part == "" }), " ")

	return fmt.Sprintf("%s: %s is %s", d.Namespace, text, d.Kind)
}

// Totals are of documents.
type Totals struct {
	Namespaces  int   `json:"namespaces"`
	Documents   int64 `json:"documents"` // compared, each once although it may be on both sides
	Bytes       int64 `json:"bytes"`
	Suspects    int64 `json:"suspects"` // read again, because they were not the same at first
	Differences int64 `json:"differences"`
	NotSettled  int64 `json:"not_settled"`
	Explained   int64 `json:"explained"` // of the differences: parked or a dead letter
}

// Report is the result of a verification.
type Report struct {
	Flow     string    `json:"flow"`
	StreamID string    `json:"stream_id"`
	Outcome  Outcome   `json:"outcome"`
	Complete bool      `json:"complete"` // false: it stopped at the most differences that were asked for
	Began    time.Time `json:"began"`
	Ended    time.Time `json:"ended"`

	Totals      Totals              `json:"totals"`
	Differences []Difference        `json:"differences"`
	Catalog     []CatalogDifference `json:"catalog_differences"`
	Notes       []string            `json:"notes"` // what was not compared, and why
	// Paused says who has paused the flow, or namespaces of it, since when and why; empty when nobody has. What is not
	// applied because of that cannot settle.
	Paused string `json:"paused,omitempty"`
}

// judge sets the outcome.
func (r *Report) judge() {
	open := slices.ContainsFunc(r.Catalog, CatalogDifference.isOpen)
	settled := slices.ContainsFunc(r.Catalog, func(d CatalogDifference) bool { return !d.isOpen() })

	switch {
	case r.Totals.Differences > 0, settled:
		r.Outcome = Unequal
	case r.Totals.NotSettled > 0, open, !r.Complete:
		r.Outcome = NotSettled
	default:
		r.Outcome = Equal
	}
}

// Range is a part of a collection, in the order of _id.
type Range struct {
	Namespace event.Namespace
	From, To  bson.RawValue // the first _id, and the one behind the last; zero: open
	Last      bson.RawValue // _id of the last document that was compared; zero: none was
	Done      bool

	Documents, Bytes int64 // compared
	// Unordered: its documents do not come in the order of _id, so that nothing can be told by Last.
	Unordered bool

	withdrawn bool // the collection is read in another way
}

// Snapshot is how far a verification has come, for people.
type Snapshot struct {
	Totals

	Estimated int64     // documents of the source in all, about; 0: not known yet
	Waiting   int       // suspects
	Began     time.Time // of this run
	Before    int64     // documents that earlier runs had compared
	Done      int       // ranges
	Ranges    int
}

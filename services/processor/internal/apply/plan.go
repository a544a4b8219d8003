package apply

import (
	"context"
	"errors"
	"fmt"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/atlas-relay/atlas-relay/pkg/checkpoint"
	"github.com/atlas-relay/atlas-relay/pkg/event"
)

// ErrNeedsImage says that an update's delta has more than one reading: the
// source's document has to be read, with its time.
//
// The image that the update may carry (FULL_DOCUMENT) does not do: nothing says
// whether it is the document after this update (whenAvailable) or after later
// ones too (updateLookup). Later deltas that come upon an image of the future
// bring its values to where they end, but not the order of its fields.
var ErrNeedsImage = errors.New("the update cannot be read in one way")

// Change is an event to apply, with its place in the stream.
type Change struct {
	Event    event.Event
	Number   uint64 // event number of the flow
	Position event.Position
}

// EventError is an event that cannot be applied for a reason of its own: the
// same event fails again on a healthy target. It names the event and never
// shows its content.
type EventError struct {
	Namespace event.Namespace
	Operation event.Operation
	Number    uint64
	Position  event.Position
	Err       error
}

// Error implements error.
func (e *EventError) Error() string {
	return fmt.Sprintf("event %d at %s (%s on %s): %v", e.Number, e.Position, e.Operation, e.Namespace, e.Err)
}

// Unwrap returns the reason.
func (e *EventError) Unwrap() error { return e.Err }

func newEventError(c *Change, err error) *EventError {
	return &EventError{
		Namespace: c.Event.Namespace, Operation: c.Event.Operation, Number: c.Number, Position: c.Position, Err: err,
	}
}

// kind of a write.
type kind int

const (
	replace kind = iota // with upsert
	update              // never with upsert
	remove
)

// write is one write model.
type write struct {
	kind     kind
	ns       event.Namespace
	id       bson.RawValue
	document bson.Raw // of replace: the image; of update: the update document
	change   *Change  // the event it comes from
}

// Plan is a batch as the writes that have its effect.
type Plan struct {
	writes      []write
	unsupported []Change // events that are only taken note of
	events      int      // of the batch; all but the unsupported are processed
	notes       []Note   // writes to the relay's own collections
	coalesced   bool     // an earlier change was left out for a later one
	alone       bool     // no transaction can have the writes
	scouts      int      // how many of the first writes go in a command of their own; see Scout

	only func(ctx context.Context) error // see Only
}

// NewPlan turns a batch into writes. A full image or a delete supersedes the
// earlier changes of its document in the batch; deltas stay apart and in order.
// Errors are *EventError.
func NewPlan(changes []Change) (*Plan, error) { return newPlan(changes, true) }

// NewOrderedPlan turns a batch into the writes of each of its events, in their
// order: what a superseded change frees in a unique index, a later one of
// another document may need. Errors are *EventError.
func NewOrderedPlan(changes []Change) (*Plan, error) { return newPlan(changes, false) }

func newPlan(changes []Change, coalesce bool) (*Plan, error) {
	p := &Plan{events: len(changes)}
	earlier := make(map[event.Key][]int, len(changes)) // indexes of a document's writes

	for i := range changes {
		c := &changes[i]
		if !c.Event.Operation.IsDocument() {
			if !needsNothing(&c.Event) {
				p.unsupported = append(p.unsupported, *c)
			}

			continue
		}

		key, err := event.NewKey(c.Event.Namespace, c.Event.ID())
		if err != nil {
			return nil, newEventError(c, err)
		}

		writes, err := writesOf(c)
		if err != nil {
			return nil, newEventError(c, err)
		}

		if coalesce && len(writes) > 0 && writes[0].kind != update {
			for _, index := range earlier[key] {
				p.writes[index].change = nil
				p.coalesced = true
			}

			earlier[key] = earlier[key][:0]
		}

		for _, w := range writes {
			earlier[key] = append(earlier[key], len(p.writes))
			p.writes = append(p.writes, w)
		}
	}

	p.dropSuperseded()

	return p, nil
}

func (p *Plan) dropSuperseded() {
	kept := p.writes[:0]

	for _, w := range p.writes {
		if w.change != nil {
			kept = append(kept, w)
		}
	}

	clear(p.writes[len(kept):])
	p.writes = kept
}

// Namespaces returns the namespaces written, each once.
func (p *Plan) Namespaces() []event.Namespace {
	var (
		list []event.Namespace
		seen = map[event.Namespace]struct{}{}
	)

	for i := range p.writes {
		ns := p.writes[i].ns
		if _, found := seen[ns]; !found && p.writes[i].kind == replace {
			seen[ns] = struct{}{}
			list = append(list, ns)
		}
	}

	return list
}

// Counters returns what the batch adds to the partition's counters.
func (p *Plan) Counters() checkpoint.Counters {
	skipped := int64(len(p.unsupported))

	return checkpoint.Counters{Processed: int64(p.events) - skipped, Skipped: skipped, Batches: 1}
}

// Coalesced tells whether the plan leaves out what a later change supersedes.
func (p *Plan) Coalesced() bool { return p.coalesced }

// Alone has the plan applied as on a target without transactions: what is capped
// cannot be written in one.
func (p *Plan) Alone() { p.alone = true }

// Only has the plan applied where this returns nil: it is asked first, in the transaction, and its error is that of
// Commit. Without transactions it is asked before anything is written.
func (p *Plan) Only(where func(ctx context.Context) error) { p.only = where }

func (p *Plan) allowed(ctx context.Context) error {
	if p.only == nil {
		return nil
	}

	return p.only(ctx)
}

// Note adds writes of the relay's own to the transaction.
func (p *Plan) Note(notes ...Note) { p.notes = append(p.notes, notes...) }

// Put adds the write of a whole document behind the others; a nil image deletes
// it. An error of that write names the change.
func (p *Plan) Put(c *Change, image bson.Raw) {
	w := write{kind: remove, ns: c.Event.Namespace, id: c.Event.ID(), change: c}
	if image != nil {
		w.kind, w.document = replace, image
	}

	p.writes = append(p.writes, w)
}

// addressed is how many documents the plan must match or insert.
func (p *Plan) addressed() int64 {
	n := int64(0)

	for i := range p.writes {
		if p.writes[i].kind != remove {
			n++
		}
	}

	return n
}

// Events returns how many events the batch has.
func (p *Plan) Events() int { return p.events }

// Unsupported returns the events that were only taken note of.
func (p *Plan) Unsupported() []Change { return p.unsupported }

// writesOf returns the writes of one change of a document; none for an update
// that changed nothing.
func writesOf(c *Change) ([]write, error) {
	w := write{ns: c.Event.Namespace, id: c.Event.ID(), change: c}

	switch c.Event.Operation {
	case event.Delete:
		w.kind = remove

		return []write{w}, nil
	case event.Update:
		return updatesOf(c, w)
	default:
		image, ok := c.Event.Raw.Lookup("fullDocument").DocumentOK()
		if !ok {
			return nil, fmt.Errorf("%w: no fullDocument", event.ErrMalformed)
		}

		w.kind, w.document = replace, image

		return []write{w}, nil
	}
}

func updatesOf(c *Change, w write) ([]write, error) {
	description, ok := c.Event.Raw.Lookup("updateDescription").DocumentOK()
	if !ok {
		return nil, fmt.Errorf("%w: no updateDescription", event.ErrMalformed)
	}

	updates, ok, err := parseDelta(description)
	if err != nil {
		return nil, err
	}

	if !ok {
		return nil, ErrNeedsImage
	}

	writes := make([]write, len(updates))
	for i, u := range updates {
		w.kind, w.document = update, u
		writes[i] = w
	}

	return writes, nil
}

// needsNothing tells whether an event has no effect that the target lacks: a
// collection without options is made by its first insert.
func needsNothing(e *event.Event) bool {
	if e.Operation != event.Create {
		return false
	}

	if kind, ok := e.Raw.Lookup("nsType").StringValueOK(); ok && kind != "collection" {
		return false
	}

	options, ok := e.Raw.Lookup("operationDescription").DocumentOK()
	if !ok {
		return true
	}

	elements, err := options.Elements()
	if err != nil {
		return false
	}

	for _, el := range elements {
		// Every collection has the first; the second is what it is anyway.
		if key := el.Key(); key != "idIndex" && key != "uuid" {
			return false
		}
	}

	return true
}

// Diverges tells whether the target's documents or collections differ from the
// source's after an event that was only taken note of. Indexes and sharding
// concern how documents are found, not which there are.
func Diverges(op event.Operation) bool {
	switch op {
	case "createIndexes", "dropIndexes", "modify", "shardCollection", "reshardCollection", "refineCollectionShardKey":
		return false
	default:
		return true
	}
}

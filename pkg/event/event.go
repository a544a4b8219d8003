package event

import (
	"errors"
	"fmt"

	"go.mongodb.org/mongo-driver/v2/bson"
)

// Operation is MongoDB's operationType.
type Operation string

// The operations of one document. Every other operation concerns a collection,
// a database or the cluster.
const (
	Insert  Operation = "insert"
	Update  Operation = "update"
	Replace Operation = "replace"
	Delete  Operation = "delete"
)

// The schema changes that can be replicated. A collection without options needs
// no Create to exist on the target: the first insert makes it.
const (
	Create        Operation = "create"
	Drop          Operation = "drop"
	DropDatabase  Operation = "dropDatabase"
	Rename        Operation = "rename"
	CreateIndexes Operation = "createIndexes"
	DropIndexes   Operation = "dropIndexes"
	Modify        Operation = "modify" // collMod
)

// ReshardCollection gives a collection another UUID; a target needs nothing of it. It
// comes since MongoDB 6.0.14.
const ReshardCollection Operation = "reshardCollection"

// IsDocument tells whether the operation changes one document.
func (o Operation) IsDocument() bool {
	switch o {
	case Insert, Update, Replace, Delete:
		return true
	default:
		return false
	}
}

// TakesAway tells whether documents are gone after the operation, or have another
// name. It must not be repeated later: by then another collection may have the
// name.
func (o Operation) TakesAway() bool { return o == Drop || o == DropDatabase || o == Rename }

// IsSchemaChange tells whether the operation changes a definition in a way that
// a target can repeat. What else concerns a whole collection or more (sharding,
// say) is known only as an operation that is none of a document.
func (o Operation) IsSchemaChange() bool {
	switch o {
	case Create, Drop, DropDatabase, Rename, CreateIndexes, DropIndexes, Modify:
		return true
	default:
		return false
	}
}

// Namespace names a collection; Coll is empty where a whole database is meant.
type Namespace struct {
	DB   string
	Coll string
}

// String returns "db.coll", or "db" for a whole database.
func (n Namespace) String() string {
	if n.Coll == "" {
		return n.DB
	}

	return n.DB + "." + n.Coll
}

// Fragment is the place of a fragment in an event that the server split because
// it exceeds 16 MB ($changeStreamSplitLargeEvent). Both are 0 in whole events.
type Fragment struct {
	Number int // from 1
	Of     int
}

// maxFragments is far above what MaxSize holds in fragments of 16 MB.
const maxFragments = 1 << 16

// Transaction identifies the source's transaction that an event belongs to.
type Transaction struct {
	LSID   bson.Raw
	Number int64
}

// Event is a change event, decoded as far as routing and applying need it.
// All raw fields alias Raw.
type Event struct {
	Raw         bson.Raw
	Operation   Operation
	Namespace   Namespace
	To          Namespace      // new name of a collection; zero unless it is renamed
	Collection  UUID           // of the collection; zero where the server does not say
	DocumentKey bson.Raw       // nil unless the operation is one of a document
	ClusterTime bson.Timestamp // of the source's operation
	Fragment    Fragment
	Transaction Transaction // LSID is nil outside a multi-document transaction
}

// ErrMalformed is wrapped by every error that says bytes are not a change event
// or not a message of this package. The same bytes fail again.
var ErrMalformed = errors.New("malformed")

// Parse decodes a raw change event or a fragment of one. It does not copy raw.
// No length in raw is trusted: it must be one whole document to the last level, as
// CheckEvent says. Errors wrap ErrMalformed.
func Parse(raw bson.Raw) (Event, error) {
	e := Event{Raw: raw}

	if err := CheckEvent(raw); err != nil {
		return Event{}, fmt.Errorf("read change event: %w", err)
	}

	w, err := walk(raw)
	if err != nil {
		return Event{}, fmt.Errorf("read change event: %w", err)
	}

	for w.more() {
		key, value, err := w.next()
		if err != nil {
			return Event{}, fmt.Errorf("read change event: %w", err)
		}

		if err := e.set(string(key), value); err != nil {
			return Event{}, fmt.Errorf("read change event: field %s: %w", key, err)
		}
	}

	if e.Fragment.Of > 1 {
		return e, nil // the other fragments have what is missing here
	}

	if e.Operation == "" {
		return Event{}, fmt.Errorf("read change event: %w: no operationType", ErrMalformed)
	}

	if e.Operation.IsDocument() && e.DocumentKey == nil {
		return Event{}, fmt.Errorf("read change event: %w: %s without documentKey", ErrMalformed, e.Operation)
	}

	return e, nil
}

// set takes in one top-level field; unknown ones are left to readers of Raw.
func (e *Event) set(key string, value bson.RawValue) error {
	var (
		ok  = true
		err error
	)

	switch key {
	case "operationType":
		var s string
		s, ok = value.StringValueOK()
		e.Operation = Operation(s)
	case "ns":
		e.Namespace, err = namespaceOf(value)
	case "to":
		e.To, err = namespaceOf(value)
	case "collectionUUID":
		err = e.setCollection(value)
	case "documentKey":
		e.DocumentKey, err = document(value)
	case "clusterTime":
		e.ClusterTime.T, e.ClusterTime.I, ok = value.TimestampOK()
	case "lsid":
		e.Transaction.LSID, err = document(value)
	case "txnNumber":
		e.Transaction.Number, ok = value.AsInt64OK()
	case "splitEvent":
		err = e.setFragment(value)
	}

	if !ok {
		return unexpectedType(value)
	}

	return err
}

func unexpectedType(value bson.RawValue) error {
	return fmt.Errorf("%w: unexpected type %s", ErrMalformed, value.Type)
}

// document returns an embedded document; Parse has checked it.
func document(value bson.RawValue) (bson.Raw, error) {
	if value.Type != bson.TypeEmbeddedDocument {
		return nil, unexpectedType(value)
	}

	return value.Value, nil
}

func namespaceOf(value bson.RawValue) (Namespace, error) {
	doc, err := document(value)
	if err != nil {
		return Namespace{}, err
	}

	var ns Namespace

	ns.DB, _ = doc.Lookup("db").StringValueOK()
	ns.Coll, _ = doc.Lookup("coll").StringValueOK()

	return ns, nil
}

func (e *Event) setCollection(value bson.RawValue) error {
	_, data, ok := value.BinaryOK()
	if !ok {
		return unexpectedType(value)
	}

	return e.Collection.set(data)
}

func (e *Event) setFragment(value bson.RawValue) error {
	doc, err := document(value)
	if err != nil {
		return err
	}

	number, _ := doc.Lookup("fragment").AsInt64OK()
	of, _ := doc.Lookup("of").AsInt64OK()

	if number < 1 || of < number || of > maxFragments {
		return fmt.Errorf("%w: fragment %d of %d", ErrMalformed, number, of)
	}

	e.Fragment = Fragment{Number: int(number), Of: int(of)}

	return nil
}

// ID returns the _id of the event's document; the zero value if it has none.
func (e *Event) ID() bson.RawValue {
	if e.DocumentKey == nil {
		return bson.RawValue{}
	}

	return e.DocumentKey.Lookup("_id")
}

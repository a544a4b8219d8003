package mongomodel

import (
	"maps"
	"slices"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"

	"github.com/atlas-relay/atlas-relay/pkg/checkpoint"
	"github.com/atlas-relay/atlas-relay/pkg/event"
	"github.com/atlas-relay/atlas-relay/services/processor/stepwise"
)

// lifetime is how long a transaction may stay open before the server ends it
// (transactionLifetimeLimitSeconds).
const lifetime = time.Minute

// Fields of documents that the database looks at.
const (
	FieldBad    = "bad" // 1: the validator refuses the document
	FieldUnique = "u"   // no two documents of a collection have the same, unless 0
)

// place names a document.
type place struct {
	ns event.Namespace
	id string
}

// Database is a deployment in memory. Not for concurrent use.
type Database struct {
	now       func() time.Time
	documents map[event.Namespace]map[string]bson.Raw // no Raw is ever changed
	locks     map[place]*transaction
	open      map[string]*transaction // by session
	unique    bool
	committed func(*Commit)
}

// NewDatabase returns an empty one. unique: collections have an index on FieldUnique.
func NewDatabase(now func() time.Time, unique bool) *Database {
	return &Database{
		now: now, documents: map[event.Namespace]map[string]bson.Raw{}, locks: map[place]*transaction{},
		open: map[string]*transaction{}, unique: unique, committed: func(*Commit) {},
	}
}

// Commit is a transaction that has taken effect.
type Commit struct {
	Statements []stepwise.Statement
	Checkpoint checkpoint.Document // that it left
	Session    string
	Before     map[event.Namespace]map[string]bson.Raw // the documents that it wrote, as they were; by _id
}

// OnCommit sets who is told of commits that move a checkpoint.
func (d *Database) OnCommit(told func(*Commit)) { d.committed = told }

// Find returns a document by its _id; nil when there is none.
func (d *Database) Find(ns event.Namespace, id any) bson.Raw {
	return d.documents[ns][idOf(marshal(bson.D{{Key: "_id", Value: id}}).Lookup("_id"))]
}

// All returns the documents of a collection, in the order of their ids.
func (d *Database) All(ns event.Namespace) []bson.Raw {
	list := make([]bson.Raw, 0, len(d.documents[ns]))
	for _, id := range slices.Sorted(maps.Keys(d.documents[ns])) {
		list = append(list, d.documents[ns][id])
	}

	return list
}

// Snapshot is a backup.
type Snapshot map[event.Namespace]map[string]bson.Raw

// Snapshot makes a backup.
func (d *Database) Snapshot() Snapshot {
	s := Snapshot{}
	for ns, documents := range d.documents {
		s[ns] = maps.Clone(documents)
	}

	return s
}

// Restore puts a backup in the place of everything. Open transactions end.
func (d *Database) Restore(s Snapshot) {
	d.documents = map[event.Namespace]map[string]bson.Raw{}
	for ns, documents := range s {
		d.documents[ns] = maps.Clone(documents)
	}

	d.Interrupt()
}

// Interrupt ends all open transactions, as an election does.
func (d *Database) Interrupt() {
	for _, session := range slices.Sorted(maps.Keys(d.open)) {
		d.abort(session)
	}
}

// transaction is one that is open: its writes are seen by nobody else, and what it
// writes is locked.
type transaction struct {
	session    string
	began      time.Time
	writes     map[place]bson.Raw // nil: deleted
	order      []place
	statements []stepwise.Statement
}

// begin opens a transaction and runs its statements. The caller commits or aborts it.
func (d *Database) begin(session string, statements []stepwise.Statement) error {
	d.abort(session)

	t := &transaction{session: session, began: d.now(), writes: map[place]bson.Raw{}, statements: statements}
	d.open[session] = t

	for i := range statements {
		if err := d.run(t, &statements[i]); err != nil {
			return err
		}
	}

	return nil
}

// get is what the transaction sees.
func (d *Database) get(t *transaction, at place) bson.Raw {
	if document, written := t.writes[at]; written {
		return document
	}

	return d.documents[at.ns][at.id]
}

// put writes within the transaction. Another one that has the document open is a conflict.
func (d *Database) put(t *transaction, at place, document bson.Raw) error {
	if other := d.locks[at]; other != nil && other != t {
		if d.now().Sub(other.began) < lifetime {
			return errConflict()
		}

		d.abort(other.session)
	}

	d.locks[at] = t

	if _, written := t.writes[at]; !written {
		t.order = append(t.order, at)
	}

	t.writes[at] = document

	return d.accept(t, at, document)
}

// accept is what the validator and the index say.
func (d *Database) accept(t *transaction, at place, document bson.Raw) error {
	if document == nil || at.ns.DB == checkpoint.Database {
		return nil
	}

	if bad, ok := document.Lookup(FieldBad).AsInt64OK(); ok && bad == 1 {
		return errDocument(121, "Document failed validation")
	}

	u, ok := document.Lookup(FieldUnique).AsInt64OK()
	if !d.unique || !ok || u == 0 {
		return nil
	}

	taken := func(id string, other bson.Raw) bool {
		v, ok := other.Lookup(FieldUnique).AsInt64OK()

		return id != at.id && ok && v == u
	}

	for _, p := range t.order {
		if other := t.writes[p]; p.ns == at.ns && other != nil && taken(p.id, other) {
			return errDocument(11000, "E11000 duplicate key error")
		}
	}

	found := false
	for id, other := range d.documents[at.ns] {
		_, written := t.writes[place{at.ns, id}]
		found = found || !written && taken(id, other)
	}

	if found {
		return errDocument(11000, "E11000 duplicate key error")
	}

	return nil
}

// run runs one statement.
func (d *Database) run(t *transaction, s *stepwise.Statement) error {
	if s.Verb == stepwise.DeleteMany {
		return d.deleteMany(t, s)
	}

	if s.Verb == stepwise.Insert {
		document := marshal(s.Document)
		at := place{s.Namespace, idOf(document.Lookup("_id"))}

		if d.get(t, at) != nil {
			return s.Refused(errDocument(11000, "E11000 duplicate key error"))
		}

		return refusal(s, d.put(t, at, document))
	}

	filter := marshal(s.Filter)
	id := filter.Lookup("_id")
	at := place{s.Namespace, idOf(id)}
	present := d.get(t, at)
	found := present != nil && matches(present, filter)

	var after bson.Raw

	switch s.Verb {
	case stepwise.Delete:
		if !found {
			return nil
		}
	case stepwise.Replace:
		after = marshal(s.Document)
	case stepwise.Update, stepwise.Upsert:
		if !found && s.Verb == stepwise.Update {
			return s.Unmatched()
		}

		if !found {
			present = build([]field{{key: "_id", value: id}})
		}

		after = Apply(present, s.Document, !found)
	default:
	}

	return refusal(s, d.put(t, at, after))
}

func refusal(s *stepwise.Statement, err error) error {
	if err == nil || isConflict(err) {
		return err
	}

	return s.Refused(err)
}

func (d *Database) deleteMany(t *transaction, s *stepwise.Statement) error {
	filter := marshal(s.Filter)

	for _, id := range slices.Sorted(maps.Keys(d.documents[s.Namespace])) {
		at := place{s.Namespace, id}
		if document := d.get(t, at); document == nil || !matches(document, filter) {
			continue
		}

		if err := d.put(t, at, nil); err != nil {
			return err
		}
	}

	return nil
}

// commit makes the writes of the session's transaction seen.
func (d *Database) commit(session string) error {
	t := d.open[session]
	if t == nil {
		return mongo.CommandError{Code: 251, Message: "transaction is not in progress", Labels: []string{"TransientTransactionError"}}
	}

	c := &Commit{Statements: t.statements, Session: session, Before: map[event.Namespace]map[string]bson.Raw{}}

	for _, at := range t.order {
		if c.Before[at.ns] == nil {
			c.Before[at.ns] = map[string]bson.Raw{}
		}

		c.Before[at.ns][at.id] = d.documents[at.ns][at.id]
		d.set(at, t.writes[at])

		if at.ns.Coll == checkpoint.Collection && at.ns.DB == checkpoint.Database {
			_ = bson.Unmarshal(t.writes[at], &c.Checkpoint) // it was encoded here
		}
	}

	d.abort(session) // it gives the locks back

	if c.Checkpoint.ID != "" {
		d.committed(c)
	}

	return nil
}

func (d *Database) set(at place, document bson.Raw) {
	if d.documents[at.ns] == nil {
		d.documents[at.ns] = map[string]bson.Raw{}
	}

	if document == nil {
		delete(d.documents[at.ns], at.id)
	} else {
		d.documents[at.ns][at.id] = document
	}
}

// abort ends the session's transaction, if one is open.
func (d *Database) abort(session string) {
	t := d.open[session]
	if t == nil {
		return
	}

	for _, at := range t.order {
		if d.locks[at] == t {
			delete(d.locks, at)
		}
	}

	delete(d.open, session)
}

// single runs one statement by itself.
func (d *Database) single(s *stepwise.Statement) error {
	const session = "single"

	err := d.begin(session, []stepwise.Statement{*s})
	if err == nil {
		t := d.open[session]
		for _, at := range t.order {
			d.set(at, t.writes[at])
		}
	}

	d.abort(session)

	return err
}

func errDocument(code int, why string) error {
	return mongo.WriteException{WriteErrors: mongo.WriteErrors{{Code: code, Message: why}}}
}

func errConflict() error {
	return mongo.CommandError{Code: 112, Name: "WriteConflict", Message: "write conflict", Labels: []string{"TransientTransactionError"}}
}

func isConflict(err error) bool {
	failed, ok := err.(mongo.CommandError) //nolint:errorlint // made here, never wrapped

	return ok && failed.Code == 112
}

// ErrAway is what a driver says of a server that it does not reach.
func ErrAway() error {
	return mongo.CommandError{Code: 91, Name: "ShutdownInProgress", Message: "the target is away", Labels: []string{"TransientTransactionError", "NetworkError"}}
}

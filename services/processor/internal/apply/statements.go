package apply

import (
	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/atlas-relay/atlas-relay/pkg/checkpoint"
	"github.com/atlas-relay/atlas-relay/pkg/event"
)

// Verb is what a Statement does.
type Verb int

// The verbs.
const (
	Insert     Verb = iota
	Update          // must match
	Upsert          // an update, or an insertion
	Replace         // with upsert
	Delete          // of one, if it is there
	DeleteMany      // of as many as there are
)

// Statement is one write of a transaction.
type Statement struct {
	Namespace event.Namespace
	Verb      Verb
	Filter    bson.D
	Document  any     // to insert or to replace with, or the update
	Change    *Change // of the source that it comes from; nil for those of the relay's own
}

// Statements are the plan's transaction, in order, for a model of a target: the
// guarded checkpoint, what the relay remembers, the data. An Update that matches
// nothing ends it: see Unmatched. Applier sends the same in as few commands as it can.
func (p *Plan) Statements(last, next *checkpoint.Document) []Statement {
	relay := func(collection string) event.Namespace {
		return event.Namespace{DB: checkpoint.Database, Coll: collection}
	}

	list := []Statement{{Namespace: relay(checkpoint.Collection), Verb: Update, Filter: guard(last), Document: advance(last, next)}}

	for _, n := range append(unsupportedNotes(last.Flow, p.unsupported), p.notes...) {
		verb := map[noteKind]Verb{insertNote: Insert, updateNote: Update, upsertNote: Upsert, deleteNote: DeleteMany}[n.kind]
		list = append(list, Statement{Namespace: relay(n.collection), Verb: verb, Filter: n.filter, Document: n.document})
	}

	for i := range p.writes {
		w := &p.writes[i]
		verb := map[kind]Verb{replace: Replace, update: Update, remove: Delete}[w.kind]
		list = append(list, Statement{Namespace: w.ns, Verb: verb, Filter: byID(w.id), Document: w.document, Change: w.change})
	}

	return list
}

// Unmatched is the error of a transaction whose Update has matched nothing.
func (s *Statement) Unmatched() error {
	switch {
	case s.Change != nil:
		return newEventError(s.Change, ErrMissingDocument)
	case s.Namespace.Coll == checkpoint.Collection:
		return errGuard
	default:
		return ErrRecords
	}
}

// Refused is the error of a transaction of which the target has refused this
// statement for a reason of the document itself.
func (s *Statement) Refused(err error) error {
	if s.Change != nil {
		return newEventError(s.Change, err)
	}

	return recordError(err)
}

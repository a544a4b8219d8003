package origin

import (
	"bytes"
	"slices"
	"strings"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/atlas-relay/atlas-relay/pkg/checkpoint"
	"github.com/atlas-relay/atlas-relay/pkg/event"
)

// Transaction is one of the source that a skipped flow's processor has made.
type Transaction struct {
	LSID   bson.Raw
	Number int64
	Flow   string
}

// Tracker knows the origin of each event. It is a state machine without I/O; one
// is made for every session of the listener. Not safe for concurrent use.
type Tracker struct {
	flows []string
	open  *Transaction // the last event's, if it is to be skipped
	// within says that more of open may follow: the next event, or a token that
	// came without one, tells.
	within bool
	last   bson.Raw // token of the last event

	// Where events of other transactions stand in between, see package.
	latest   map[string]Transaction // of skipped flows, by lsid: the last one of each session that has begun
	sessions map[string]string      // flow, by id of the session: those that were there when the tracker began
}

// NewTracker returns a tracker that skips the transactions of these flows and
// goes on after a token. open is what the stream's tail says of a transaction
// that it stands in; nil if it says nothing.
func NewTracker(flows []string, after bson.Raw, open *Transaction) *Tracker {
	return &Tracker{flows: flows, open: open, within: open != nil, last: after, latest: map[string]Transaction{}}
}

// Know tells in which sessions the skipped flows' transactions run, by the bytes
// of a session's id. Nobody else's transaction may run in one.
func (t *Tracker) Know(sessions map[string]string) { t.sessions = sessions }

// Arrive is told each event before anything else is done with it. It returns
// whether the event has to be skipped. An event of the relay's own database
// never is: it counts for nothing anyway.
func (t *Tracker) Arrive(e *event.Event, token bson.Raw) (skip bool) {
	t.last = token

	if len(t.flows) == 0 {
		return false
	}

	switch {
	case t.open != nil && same(&e.Transaction, t.open):
		t.within = true

		return !event.IsInternal(e.Namespace)
	case e.Transaction.LSID == nil:
		t.open, t.within = nil, false
	case t.opens(e):
		// The first statement: its event comes before those of the data.
		t.enter(e, flowOf(e))
		t.latest[string(e.Transaction.LSID)] = *t.open
	default:
		flow := t.begunBefore(&e.Transaction)
		if flow == "" {
			t.open, t.within = nil, false

			return false
		}

		t.enter(e, flow)

		return !event.IsInternal(e.Namespace)
	}

	return false
}

func (t *Tracker) enter(e *event.Event, flow string) {
	t.open = &Transaction{LSID: slices.Clone(e.Transaction.LSID), Number: e.Transaction.Number, Flow: flow}
	t.within = true
}

// begunBefore returns the skipped flow of a transaction whose first event was not
// the one before; empty if it is none of a skipped flow.
func (t *Tracker) begunBefore(txn *event.Transaction) string {
	if last, ok := t.latest[string(txn.LSID)]; ok && last.Number == txn.Number {
		return last.Flow
	}

	if _, id, ok := txn.LSID.Lookup("id").BinaryOK(); ok {
		return t.sessions[string(id)]
	}

	return ""
}

// Leaves tells whether this event shows that the transaction before it is
// complete, so that the point before the event is one to stand at. Ask before
// Arrive.
func (t *Tracker) Leaves(e *event.Event) bool {
	return t.within && !same(&e.Transaction, t.open)
}

// Idle is told a token that came without an event. One that is not the last
// event's lies behind all that shares its cluster time, so behind the
// transaction. Its number is kept all the same: nothing else can have it.
func (t *Tracker) Idle(token bson.Raw) {
	if !bytes.Equal(token, t.last) {
		t.within = false
	}
}

// Within tells whether events of a skipped transaction may be still to come: the
// present token must not become a point to resume from.
func (t *Tracker) Within() bool { return t.within }

// Open returns the skipped transaction that the last event belonged to; nil if
// it belonged to none. A marker carries it.
func (t *Tracker) Open() *Transaction { return t.open }

// opens tells whether the event is the checkpoint's of a skipped flow.
func (t *Tracker) opens(e *event.Event) bool {
	return e.Namespace.DB == checkpoint.Database && e.Namespace.Coll == checkpoint.Collection &&
		e.Operation.IsDocument() && slices.Contains(t.flows, flowOf(e))
}

// flowOf returns the flow in a checkpoint's _id, see checkpoint.ID.
func flowOf(e *event.Event) string {
	id, ok := e.ID().StringValueOK()
	if !ok {
		return ""
	}

	flow, _, _ := strings.Cut(id, "/")

	return flow
}

func same(a *event.Transaction, b *Transaction) bool {
	return a.LSID != nil && a.Number == b.Number && bytes.Equal(a.LSID, b.LSID)
}

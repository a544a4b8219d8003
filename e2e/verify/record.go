package verify

import (
	"encoding/binary"
	"fmt"
	"strings"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"
)

// record is one of atlas_relay.parked: an event that is set aside, or a run of them.
type record struct {
	id           string
	document     *document // nil: of a schema change
	first, until position
	state        string
	counted      bool // as failed
}

// waits tells whether the record stands for something that is neither applied nor given up.
func (r *record) waits() bool { return r.state == Waiting && !r.counted }

// stands tells whether the record holds its document: what comes for it is set aside too.
func (r *record) stands() bool { return r.state == Waiting || r.state == Dead || r.state == Intended }

func (r *record) holds(at position) bool {
	return r.first.compare(at) <= 0 && at.compare(r.until) <= 0
}

// recordBook is the records of the flow, by _id.
type recordBook map[string]*record

// parseRecord reads a record; its document is looked up in the model.
func (m *model) parseRecord(id string, doc bson.Raw) *record {
	r := &record{id: id, first: positionOf(doc.Lookup(FieldAt)), state: text(doc, FieldState)}
	r.counted, _ = doc.Lookup(FieldCounted).BooleanOK()

	if r.until = positionOf(doc.Lookup(FieldUntil)); number(doc, FieldEvents) == 0 {
		r.until = r.first
	}

	if key, ok := doc.Lookup(FieldDocumentKey).DocumentOK(); ok {
		r.document = m.document(text(doc, FieldDB)+"."+text(doc, FieldColl), key.Lookup("_id"))
	}

	return r
}

// park takes in a change of atlas_relay.parked; c is the commit that it belongs to, nil for none.
func (m *model) park(c *commit, ch *change) {
	id, _ := ch.id.StringValueOK()
	if !strings.HasPrefix(id, m.meta.Flow+"/") {
		return
	}

	r := m.records[id]

	switch {
	case ch.document != nil:
		r = m.parseRecord(id, ch.document)
		m.records[id] = r

		if r.document != nil {
			r.document.parked = true
			if r.document.records == nil {
				r.document.records = map[string]*record{}
			}

			r.document.records[id] = r
		}

		m.count(r, false)
	case r == nil: // of before the record
	case ch.operation == deletion:
		delete(m.records, id)
		m.release(c, r)
	default:
		m.alter(c, r, ch.fields)
	}
}

// alter takes in an update of a record.
func (m *model) alter(c *commit, r *record, fields bson.Raw) {
	stood, counted := r.stands(), r.counted

	if state := text(fields, FieldState); state != "" {
		r.state = state
	}

	if now, ok := fields.Lookup(FieldCounted).BooleanOK(); ok {
		r.counted = now
	}

	if until, ok := fields.Lookup(FieldUntil).DocumentOK(); ok && number(fields, FieldEvents) > 0 {
		r.until = positionOf(bson.RawValue{Type: bson.TypeEmbeddedDocument, Value: until})
	}

	m.count(r, counted)

	if stood && !r.stands() {
		m.release(c, r)
	}
}

// count counts a record that has become a dead letter.
func (m *model) count(r *record, before bool) {
	if r.counted && !before {
		m.report.Figures.DeadLetters++
	}
}

// eventsOf are the events that a record stands for.
func (m *model) eventsOf(r *record) []int {
	if r.document == nil {
		return nil
	}

	var all []int

	for _, i := range r.document.events {
		if r.holds(m.events[i].at) {
			all = append(all, i)
		}
	}

	return all
}

// release ends what a record stood for: the commit is to apply it, or something that covers it.
func (m *model) release(c *commit, r *record) {
	if r.document == nil {
		return
	}

	delete(r.document.records, r.id)

	if c == nil {
		return
	}

	c.released = append(c.released, r)
	for _, i := range m.eventsOf(r) {
		c.cover(r.document, i)
	}
}

// refetch takes in a change of atlas_relay.refetched: a document is replaced by what the source had at a time.
func (m *model) refetch(c *commit, ch *change) {
	if ch.operation == deletion {
		return
	}

	id, _ := ch.id.StringValueOK()

	if ch.document != nil {
		key, _ := ch.document.Lookup(FieldDocumentKey).DocumentOK()
		_, names, _ := ch.document.Lookup(FieldKey).BinaryOK()
		m.refetched[id] = m.document(namespaceOf(names), key.Lookup("_id"))
	}

	d := m.refetched[id]
	if d == nil {
		return
	}

	at := ch.fields.Lookup(FieldTime)
	if ch.document != nil {
		at = ch.document.Lookup(FieldTime)
	}

	t, i, _ := at.TimestampOK()
	c.covers[d] = position{t, i, 1<<32 - 1}
	c.touch(d)
}

// namespaceOf reads the two names, each behind its length, that the key of a document begins with.
func namespaceOf(key []byte) string {
	var names []string

	for range 2 {
		length, n := binary.Uvarint(key)
		if n <= 0 || length > uint64(len(key)-n) {
			return ""
		}

		names, key = append(names, string(key[n:n+int(length)])), key[n+int(length):]
	}

	return strings.Join(names, ".")
}

// overtaken is the part of I9 that the target's history shows: what waits is not overtaken, and is released in order.
func (m *model) overtaken(c *commit, d *document, wrote bool) {
	for _, waiting := range d.records {
		if !waiting.waits() {
			continue
		}

		for _, r := range c.released {
			if r.document == d && !r.counted && waiting.first.compare(r.first) < 0 {
				m.findIn(d, m.orderFinding(c, c.at, "the event at "+r.first.String()+" was released before the one at "+waiting.first.String()+", which waits"))
			}
		}

		i := m.eventAt(waiting.first)
		if i == none || !wrote {
			continue
		}

		if v := m.events[i].version; v > 0 && v <= d.shown && d.image < v {
			m.findIn(d, m.orderFinding(c, c.at, fmt.Sprintf("v%d was applied while v%d before it waits in %s.%s", d.shown, v, Database, Parked)))
		}
	}
}

func (m *model) orderFinding(c *commit, at time.Time, what string) Finding {
	return Finding{Invariant: I9, Kind: "overtaken", At: at, Verdict: what + "\n" + c.String() + " at " + m.since(at)}
}

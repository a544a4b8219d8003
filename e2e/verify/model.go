package verify

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/atlas-relay/atlas-relay/e2e/history"
)

// none is the index of no event.
const none = -1

// event is one event of the source.
type event struct {
	at          position
	document    *document // nil: it is none of a document
	ns          string
	version     int64 // that the document has after it; 0 where it has none
	deleted     bool
	whole       bool  // the document after it does not depend on what came before
	transaction int32 // of the source, numbered from 1; 0 outside

	sequence  uint64 // of the message that completes it; 0: the stream does not have it
	partition int

	covered bool // a checkpoint of the target is past it
	applied bool // the target has shown its version
	letters int  // dead letters at the end that name it
	// missed says which commit went past it without applying it; empty for none.
	missed   string
	missedAt time.Time
}

// write is one write that the source acknowledged.
type write struct {
	version int64
	at      time.Time
}

// document is one document: what clients did to it, what the source told, and what the target showed.
type document struct {
	ns string
	id bson.RawValue

	known   bool    // a client told of a write of it
	acked   []write // in the order of their versions
	deletes []int64 // versions of the deletions that clients asked for, in order
	poison  []int64 // versions that the target is meant to refuse, in order

	events []int // of the source, in order
	source int64 // version after the last of them

	exists  bool
	shown   int64 // version on the target; of a deleted document that of its deletion
	written int64 // highest version that a write of the stream brought
	image   int64 // version of an image of the source that may be ahead of the stream; 0 for none
	imageT  position

	records map[string]*record
	parked  bool      // it ever had a record
	broken  Invariant // it has a finding of this one: what follows from it is not told again
	finding int       // index of that finding
}

func (d *document) String() string { return fmt.Sprintf("%s %s", d.ns, d.id) }

// exempt namespaces are not judged document by document.
type exempt map[string]string // why, by namespace or database

func (e exempt) why(ns string) string {
	if why, ok := e[ns]; ok {
		return why
	}

	db, _, _ := strings.Cut(ns, ".")

	return e[db]
}

// model is all that the record says, put together. It holds some 300 bytes for each event with its message, and as many for each
// document, whatever their sizes: files are read as streams.
type model struct {
	folder string
	meta   history.Meta
	limits Limits
	report Report

	documents   map[string]*document
	exempt      exempt
	events      []event     // in the source's order
	lanes       []*lane     // by partition
	faults      []fault     // as recorded
	gaps        []gap       // recorded ones that count
	records     recordBook  // parked records that there are at this point of the target's history
	stream      streamIndex // what the stream holds
	lettersRead bool        // the records at the end were read
	holes       bool        // the stream has a hole: events may be missing in the record of it alone

	transactions map[string]int32
	refetched    map[string]*document       // by _id of atlas_relay.refetched
	open         map[string]*commit         // the last one of each session
	loose        map[*document][]looseWrite // writes of the target that no checkpoint came with
}

type fault = history.Fault

func newModel(folder string, meta history.Meta, limits Limits) *model {
	m := &model{
		folder: folder, meta: meta, limits: limits,
		documents: map[string]*document{}, exempt: exempt{}, transactions: map[string]int32{}, records: recordBook{},
		refetched: map[string]*document{}, open: map[string]*commit{}, loose: map[*document][]looseWrite{},
	}
	m.report.Figures.Recovery = -1

	for range meta.Partitions {
		m.lanes = append(m.lanes, &lane{})
	}

	return m
}

// keyOf names a document on both sides alike.
func keyOf(ns string, id bson.RawValue) string {
	return ns + "\x00" + string([]byte{byte(id.Type)}) + string(id.Value)
}

func (m *model) document(ns string, id bson.RawValue) *document {
	key := keyOf(ns, id)

	d := m.documents[key]
	if d == nil {
		d = &document{ns: ns, id: bson.RawValue{Type: id.Type, Value: slices.Clone(id.Value)}}
		m.documents[key] = d
	}

	return d
}

// find adds a finding.
func (m *model) find(f Finding) { m.report.Findings = append(m.report.Findings, f) }

// findIn adds the finding of a document, unless it has one: what else is wrong with it follows from that.
func (m *model) findIn(d *document, f Finding) {
	if d.broken != "" {
		first := &m.report.Findings[d.finding]
		if first.Invariant != f.Invariant && !slices.Contains(first.Also, f.Invariant) {
			first.Also = append(first.Also, f.Invariant)
		}

		return
	}

	f.Document = d.String()
	f.Verdict = d.String() + ": " + f.Verdict
	d.broken, d.finding = f.Invariant, len(m.report.Findings)
	m.find(f)
}

// since is a time of the run, for people.
func (m *model) since(at time.Time) string {
	if at.IsZero() {
		return "an unknown time"
	}

	return fmt.Sprintf("%.1f s", at.Sub(m.meta.Started).Seconds())
}

// readWrites reads what the clients know.
func (m *model) readWrites() error {
	figures := &m.report.Figures

	err := history.Each(m.folder, history.WritesFile, func(w *history.Write) error {
		id, err := bson.Raw(w.ID).LookupErr("_id")
		if err != nil {
			return fmt.Errorf("%w: a write of %s names no document: %w", history.ErrDamaged, w.Namespace, err)
		}

		d := m.document(w.Namespace, id)
		d.known = true
		figures.Writes++

		switch w.Result {
		case history.OK:
			d.acked = append(d.acked, write{w.Version, w.Time})
		case history.Fail:
			figures.Failed++

			return nil
		default:
			figures.Unknown++
		}

		if w.Deleted {
			d.deletes = append(d.deletes, w.Version)
		}

		if w.Poison {
			d.poison = append(d.poison, w.Version)
		}

		return nil
	})

	for _, d := range m.documents { // answers of one document may come in another order than its writes
		slices.SortFunc(d.acked, func(a, b write) int { return int(a.version - b.version) })
		slices.Sort(d.deletes)
		slices.Sort(d.poison)
	}

	return err
}

// readSource reads what the source told.
func (m *model) readSource() error {
	var at position

	return m.changes(history.SourceFile, func(_ time.Time, c *change) {
		if c.t == at.t && c.i == at.i {
			at.ordinal++
		} else {
			at = position{c.t, c.i, 0}
		}

		m.addEvent(at, c)
	})
}

// addEvent takes in an event of the source. Those of the relay's own database count in the order, but are none.
func (m *model) addEvent(at position, c *change) {
	m.exemptBy(c)

	if !m.meta.Includes(c.ns) {
		return
	}

	e := event{at: at, ns: c.ns, deleted: c.operation == deletion, whole: c.whole(), version: c.version, partition: none}

	if c.transaction != "" {
		number, known := m.transactions[c.transaction]
		if !known {
			number = int32(len(m.transactions) + 1)
			m.transactions[c.transaction] = number
		}

		e.transaction = number
	}

	if c.ofDocument() {
		e.document = m.document(c.ns, c.id)
		e.version = e.document.told(&e)
		e.document.events = append(e.document.events, len(m.events))
	}

	m.events = append(m.events, e)
	m.report.Figures.Events++
}

// told returns the version that the document has after an event of the source. That of a deletion nobody tells but the
// client: it is the first that was asked for and has not happened.
func (d *document) told(e *event) int64 {
	version := e.version

	if e.deleted {
		version = d.source

		if at, _ := slices.BinarySearch(d.deletes, d.source+1); at < len(d.deletes) {
			version = d.deletion(d.deletes[at:])
		}
	}

	if version > 0 {
		d.source = version
	}

	return version
}

// deletion returns which of these deletions happened first. Of several in a row, with no other write between them, one did:
// the one that was acknowledged, if any was.
func (d *document) deletion(asked []int64) int64 {
	for i, version := range asked {
		if version != asked[0]+int64(i) {
			break
		}

		if _, acked := slices.BinarySearchFunc(d.acked, version, func(w write, v int64) int { return int(w.version - v) }); acked {
			return version
		}
	}

	return asked[0]
}

// exemptBy takes namespaces out of what is judged document by document.
func (m *model) exemptBy(c *change) {
	const moved = "its documents were taken away by a schema change (drop, rename), which a document's version says nothing of"

	switch {
	case c.operation == "drop" || c.operation == "dropDatabase":
		m.exempt[c.ns] = moved
	case c.operation == "rename":
		m.exempt[c.ns], m.exempt[c.to] = moved, moved
	case c.capped:
		m.exempt[c.ns] = "it is capped: its writes are in no transaction"
	}
}

// eventAt returns the index of the event at a position; none if the source told no such event.
func (m *model) eventAt(at position) int {
	i, found := slices.BinarySearchFunc(m.events, at, func(e event, at position) int { return e.at.compare(at) })
	if !found {
		return none
	}

	return i
}

// byVersion returns the index of the document's event that brought a version.
func (m *model) byVersion(d *document, version int64) int {
	for _, i := range slices.Backward(d.events) {
		if m.events[i].version == version {
			return i
		}
	}

	return none
}

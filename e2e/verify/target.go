package verify

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/atlas-relay/atlas-relay/e2e/history"
)

// readTarget goes through all that the target showed, commit by commit: I3, I4, I6, I7, and the order of I9.
//
// Events of transactions that ran at the same time may come mixed. So a commit is judged when its session or its partition
// goes on to the next one: both do one thing after the other, and a document belongs to one partition.
func (m *model) readTarget() error {
	err := m.changes(history.TargetFile, func(at time.Time, ch *change) {
		m.exemptBy(ch)

		if ch.transaction == "" {
			alone := newCommit("")
			m.take(alone, at, ch)
			m.close(alone)

			return
		}

		c := m.open[ch.session]
		if c == nil || c.transaction != ch.transaction {
			m.close(c)

			c = newCommit(ch.transaction)
			m.open[ch.session] = c
		}

		m.take(c, at, ch)
	})
	if err != nil {
		return err
	}

	for _, session := range slices.Sorted(maps.Keys(m.open)) {
		m.close(m.open[session])
	}

	m.judgeLoose()

	return nil
}

// take adds a change to the commit.
func (m *model) take(c *commit, at time.Time, ch *change) {
	c.at = at

	switch db, coll, _ := strings.Cut(ch.ns, "."); {
	case !ch.ofDocument():
	case db == Database && coll == Checkpoints:
		m.takeCheckpoint(c, ch)
	case db == Database && coll == Parked:
		m.park(c, ch)
	case db == Database && coll == Refetched:
		m.refetch(c, ch)
	case m.meta.Includes(ch.ns):
		d := m.document(ch.ns, ch.id)
		c.touch(d)
		c.writes = append(c.writes, shown{d, ch.operation, ch.version})
		m.report.Figures.Applied++
	}
}

// takeCheckpoint makes the commit that of a partition.
func (m *model) takeCheckpoint(c *commit, ch *change) {
	id, _ := ch.id.StringValueOK()
	flow, number, _ := strings.Cut(id, "/")
	partition, err := strconv.Atoi(number)

	if flow != m.meta.Flow || err != nil || partition < 0 || partition >= len(m.lanes) {
		c.foreign = true

		return
	}

	if c.lane == nil {
		m.close(m.lanes[partition].open)

		c.lane, c.partition = m.lanes[partition], partition
		c.after, c.lane.open = c.lane.checkpoint, c
	}

	switch {
	case ch.document != nil:
		c.after = checkpoint{}
		c.after.setAll("", ch.document)
	case ch.fields != nil:
		c.after.setAll("", ch.fields)
	}
}

// close judges a commit whose changes are all known; nil, or one that was judged, is none.
func (m *model) close(c *commit) {
	if c == nil || c.closed {
		return
	}

	c.closed = true

	if c.lane == nil {
		if !c.foreign {
			m.loosen(c)
		}

		return
	}

	m.report.Figures.Commits++
	m.judgeOwner(c)
	m.judgePlace(c)
	m.advance(c)

	if c.transaction == "" {
		m.fasten(c)
	}

	for i := range c.writes {
		m.judgeWrite(c, &c.writes[i])
	}

	for _, d := range c.touched {
		m.judgeDocument(c, d)
	}

	c.lane.checkpoint, c.lane.open = c.after, nil
}

// loosen keeps writes that no checkpoint came with: those of clients in a two-way flow, and those of a commit outside of a
// transaction, whose checkpoint comes behind them.
func (m *model) loosen(c *commit) {
	for _, w := range c.writes {
		w.document.exists = w.operation != deletion
		m.loose[w.document] = append(m.loose[w.document], looseWrite{w, c.at})
	}
}

type looseWrite struct {
	shown

	at time.Time
}

// fasten gives a commit outside of a transaction the writes that came before it.
func (m *model) fasten(c *commit) {
	for _, d := range slices.Clone(c.touched) {
		for _, w := range m.loose[d] {
			c.writes = append(c.writes, w.shown)
		}

		delete(m.loose, d)
	}
}

// judgeLoose is the part of I7 about writes that nobody of the relay has made.
func (m *model) judgeLoose() {
	if m.meta.TwoWay {
		return
	}

	for d, writes := range m.loose {
		if m.lenient(d) {
			continue
		}

		w := writes[0]
		m.findIn(d, Finding{
			Invariant: I7, Kind: "no commit", At: w.at,
			Verdict: fmt.Sprintf("%s of v%d at %s on the target came with no checkpoint", w.operation, w.version, m.since(w.at)),
		})
	}
}

// lenient tells that the document is not judged by its versions.
func (m *model) lenient(d *document) bool { return m.meta.AtLeastOnce || m.exempt.why(d.ns) != "" }

// judgeWrite judges one write of a commit: I3, and that something of the stream explains it (I7).
func (m *model) judgeWrite(c *commit, w *shown) {
	d := w.document
	d.exists = w.operation != deletion

	if m.lenient(d) {
		return
	}

	if !d.exists {
		m.judgeDeletion(c, d)

		return
	}

	d.shown = w.version
	i := m.freshEvent(c, d, w.version)
	imageT, isImage := c.covers[d]

	switch {
	case w.version == 0:
		return
	case i == none && isImage:
		d.image, d.imageT = w.version, imageT

		return
	case Grows(d.written, w.version) != nil:
		if i != none {
			m.events[i].applied = true
		}

		m.findIn(d, Finding{
			Invariant: I3, Kind: "order", At: c.at,
			Verdict: fmt.Sprintf("%s on the target brought %v\n%s at %s", w.operation, Grows(d.written, w.version), c, m.since(c.at)),
		})
	case i == none:
		m.unexplained(c, d, w)
	default:
		m.events[i].applied = true
	}

	d.written = max(d.written, w.version)
}

// Grows is the rule of I3: the version that a write brings is higher than every one before.
func Grows(last, next int64) error {
	if next > last {
		return nil
	}

	return fmt.Errorf("version %d after version %d", next, last)
}

// freshEvent returns the index of the event with this version that the commit covers or releases; none if there is none.
func (m *model) freshEvent(c *commit, d *document, version int64) int {
	for _, i := range c.fresh[d] {
		if e := &m.events[i]; e.version == version && !e.deleted {
			return i
		}
	}

	return none
}

// judgeDeletion: the target's event has no version, so it is the last deletion that the commit covers.
func (m *model) judgeDeletion(c *commit, d *document) {
	last := none

	for _, i := range c.fresh[d] {
		if m.events[i].deleted {
			last = i
		}
	}

	switch imageT, isImage := c.covers[d]; {
	case last != none:
		e := &m.events[last]
		e.applied = true
		d.shown, d.written = e.version, max(d.written, e.version)
	case isImage:
		d.imageT = imageT
	case d.parked: // made way for another document's unique value
	case m.unrecorded(d):
	default:
		m.findIn(d, Finding{
			Invariant: I7, Kind: "unexplained", At: c.at,
			Verdict: fmt.Sprintf("deleted on the target by %s at %s, which covers no deletion of it", c, m.since(c.at)),
		})
	}
}

// unrecorded tells whether the document has a deletion that the record of the stream lacks, which was told, and takes it
// for the one that the target shows.
func (m *model) unrecorded(d *document) bool {
	if !m.holes {
		return false
	}

	for _, i := range d.events {
		if e := &m.events[i]; e.deleted && e.sequence == 0 && !e.applied {
			e.applied = true
			d.shown, d.written = e.version, max(d.written, e.version)

			return true
		}
	}

	return false
}

// unexplained is a write of a version that the commit does not cover.
func (m *model) unexplained(c *commit, d *document, w *shown) {
	f := Finding{Invariant: I7, At: c.at}
	i := m.byVersion(d, w.version)

	switch {
	case i == none:
		f.Kind = "unexplained"
		f.Verdict = fmt.Sprintf("the target shows v%d, which the source never had\n%s at %s", w.version, c, m.since(c.at))
	case m.events[i].missed != "":
		e := &m.events[i]
		f.Kind = "late"
		f.Verdict = fmt.Sprintf("v%d was written by %s at %s, but %s", w.version, c, m.since(c.at), e.missed)
		e.missed, e.applied = "", true
	case m.events[i].sequence == 0 && m.holes: // the record of the stream lacks it, which was told
		m.events[i].applied = true

		return
	default:
		e := &m.events[i]
		e.applied = true
		f.Kind = "ahead"
		f.Verdict = fmt.Sprintf("v%d, event at %s in message %d, was written by %s at %s, which ends at %s", w.version, e.at, e.sequence, c, m.since(c.at), c.after.at)
	}

	m.findIn(d, f)
}

// judgeDocument judges what the commit made of a document: I7, and the order of I9.
func (m *model) judgeDocument(c *commit, d *document) {
	if m.lenient(d) {
		return
	}

	fresh := c.fresh[d]
	slices.Sort(fresh)

	if imageT, isImage := c.covers[d]; isImage {
		d.imageT = imageT
	}

	begin := 0

	if !d.parked { // what is before a full image or a deletion is superseded by it
		for k, i := range fresh {
			if m.events[i].whole {
				begin = k
			}
		}
	}

	for _, i := range fresh[begin:] {
		if e := &m.events[i]; !m.settled(d, e) {
			e.missed = fmt.Sprintf("%s at %s was past it without it%s", c, m.since(c.at), c.lane.changed)
			e.missedAt = c.at
		}
	}

	wrote := slices.ContainsFunc(c.writes, func(w shown) bool { return w.document == d })
	m.overtaken(c, d, wrote)

	if d.written >= d.image {
		d.image = 0
	}
}

// settled tells whether the target has an event of a commit, or may do without.
func (m *model) settled(d *document, e *event) bool {
	image := position{e.at.t, e.at.i, 0}.compare(d.imageT) <= 0

	switch {
	case e.version == 0, e.applied, image, e.version <= d.image:
		return true
	case e.deleted && !d.exists:
		d.shown, d.written = e.version, max(d.written, e.version)

		return true
	case !d.parked:
		return false
	case d.exists && e.version <= d.shown:
		return true
	case !d.exists && m.deletedSince(d, e):
		return true
	}

	for _, r := range d.records {
		if r.holds(e.at) {
			return true
		}
	}

	return false
}

// deletedSince tells whether a later event that is covered deletes the document.
func (m *model) deletedSince(d *document, e *event) bool {
	return slices.ContainsFunc(d.events, func(i int) bool {
		later := &m.events[i]

		return later.deleted && later.covered && later.version >= e.version
	})
}

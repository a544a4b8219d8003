package verify

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/atlas-relay/atlas-relay/e2e/history"
)

// gap is a recorded range of the source's history that was not captured.
type gap struct {
	from, to   position // behind the first, up to the second
	replacedBy string   // id of the stream that goes on behind it; empty: the same
}

// readGaps reads the gaps that somebody has accepted.
func (m *model) readGaps() error {
	return optional(history.Each(m.folder, history.GapsFile, func(d *history.Document) error {
		doc := bson.Raw(d.Document)
		if text(doc, "flow") != m.meta.Flow || text(doc, FieldState) == "withdrawn" {
			return nil
		}

		m.gaps = append(m.gaps, gap{
			from: positionOf(doc.Lookup("from", FieldAt)), to: positionOf(doc.Lookup("to", FieldAt)), replacedBy: text(doc, "replaced_by"),
		})
		m.report.Figures.Gaps++

		return nil
	}))
}

// optional takes a file that is not there for an empty one.
func optional(err error) error {
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}

	return err
}

// inGap tells whether the event lies behind a recorded gap's beginning and not behind its end.
func (m *model) inGap(e *event) bool {
	return slices.ContainsFunc(m.gaps, func(g gap) bool { return g.from.compare(e.at) < 0 && e.at.compare(g.to) <= 0 })
}

// documentsInOrder returns all documents in the order of their keys: equal records give equal reports.
func (m *model) documentsInOrder() []*document {
	all := make([]*document, 0, len(m.documents))
	for _, key := range slices.Sorted(maps.Keys(m.documents)) {
		all = append(all, m.documents[key])
	}

	return all
}

// judgeLoss is I1: what became of each write that the source has acknowledged.
func (m *model) judgeLoss() {
	for _, d := range m.documentsInOrder() {
		for _, w := range d.acked {
			m.judgeAcked(d, w)
		}

		for _, i := range d.events { // what nobody was told of, but the relay took upon itself
			if e := &m.events[i]; e.missed != "" {
				m.findIn(d, Finding{
					Invariant: I7, Kind: "passed over", At: e.missedAt,
					Verdict: fmt.Sprintf("v%d, in the stream at %d, was never applied\n%s", e.version, e.sequence, e.missed),
				})
			}
		}
	}
}

func (m *model) judgeAcked(d *document, w write) {
	lose := func(kind string, at time.Time, format string, args ...any) {
		m.findIn(d, Finding{
			Invariant: I1, Kind: kind, At: at,
			Verdict: fmt.Sprintf("v%d acknowledged at %s, ", w.version, m.since(w.at)) + fmt.Sprintf(format, args...),
		})
	}

	i := m.byVersion(d, w.version)
	if i == none {
		if m.exempt.why(d.ns) == "" {
			lose("not told", time.Time{}, "the source's change stream has no such event")
		}

		return
	}

	e := &m.events[i]

	switch {
	case m.inGap(e):
	case e.sequence == 0 && !e.applied && !m.holes: // a hole was told, and what it held nobody knows
		lose("not captured", w.at, "event at %s is not in the stream", e.at)
	case m.lenient(d) || e.sequence == 0 || m.meta.TargetBack:
	case e.missed != "":
		lose("not applied", e.missedAt, "in the stream at %d, never applied\n%s", e.sequence, e.missed)

		if f := &m.report.Findings[d.finding]; f.Invariant == I1 && !slices.Contains(f.Also, I7) {
			f.Also = append(f.Also, I7)
		}

		e.missed = "" // told
	case !e.covered:
		lose("not reached", time.Time{}, "in the stream at %d; the checkpoint of p%02d ends before it, at event %d", e.sequence, e.partition, m.lanes[e.partition].checkpoint.event)
	default:
		m.judgeSetAside(d, e, lose)
	}
}

// judgeSetAside: what a record stands for is applied or given up at the end, and given up once.
func (m *model) judgeSetAside(d *document, e *event, lose func(kind string, at time.Time, format string, args ...any)) {
	if e.letters > 1 {
		lose("several letters", time.Time{}, "event at %s is in %d dead letters", e.at, e.letters)
	}

	for _, r := range d.records {
		switch {
		case !r.holds(e.at):
		case r.waits():
			lose("still waits", time.Time{}, "event at %s still waits in %s.%s as %s", e.at, Database, Parked, r.id)
		case r.state == Dead && e.letters == 0 && m.lettersRead:
			lose("letter gone", time.Time{}, "event at %s was given up, and its dead letter %s is gone at the end", e.at, r.id)
		}
	}
}

// readLetters reads the records that there are at the end.
func (m *model) readLetters() error {
	err := history.Each(m.folder, history.ParkedFile, func(d *history.Document) error {
		doc := bson.Raw(d.Document)
		id := text(doc, "_id")

		if text(doc, "flow") != m.meta.Flow {
			return nil
		}

		r := m.parseRecord(id, doc)
		if r.document == nil || !r.counted {
			return nil
		}

		for _, i := range m.eventsOf(r) {
			m.events[i].letters++
		}

		m.judgeLetter(r)

		return nil
	})

	m.lettersRead = err == nil

	return optional(err)
}

// judgeLetter is the part of I9 that the end shows: only poison is given up.
func (m *model) judgeLetter(r *record) {
	d := r.document

	i := m.eventAt(r.first)
	if i == none || m.lenient(d) || !d.known || slices.Contains(m.meta.Refused, d.ns) { // nobody said what was meant, or all were
		return
	}

	// A later change of a document that missed one cannot be applied either.
	if e := &m.events[i]; len(d.poison) == 0 || d.poison[0] > e.version {
		m.findIn(d, Finding{
			Invariant: I9, Kind: "no poison",
			Verdict: fmt.Sprintf("v%d, event at %s, was given up as dead letter %s, and nothing was wrong with it", e.version, e.at, r.id),
		})
	}
}

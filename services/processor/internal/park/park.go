package park

import (
	"container/heap"
	"fmt"
	"maps"
	"slices"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/atlas-relay/atlas-relay/pkg/event"
	"github.com/atlas-relay/atlas-relay/pkg/parked"
)

// Policy is how often and when parked events are tried, and how much may be parked.
type Policy struct {
	Retries int             // after the first try; then the event is a dead letter
	Delays  []time.Duration // before each retry; the last one repeats
	// Together is how many parked events one transaction tries; at least 1.
	Together int
	// MaxEvents and MaxBytes bound the events that are kept of one document, MaxTotal what the flow may keep. Of a
	// document's later events only how many they are is kept, in a run, and the source's document takes their place.
	MaxEvents int
	MaxBytes  int64
	MaxTotal  int64
}

// delay is the wait after so many counted tries.
func (p *Policy) delay(attempts int) time.Duration {
	return p.Delays[min(max(attempts, 1), len(p.Delays))-1]
}

// Waits that no setting names: tries of conflicts cost little and end soon, a source that does not answer is asked again.
const (
	firstConflict = 50 * time.Millisecond
	lastConflict  = 500 * time.Millisecond
	firstAsk      = 500 * time.Millisecond
	lastAsk       = 5 * time.Second
)

// charge is what a record counts for: even one of a small event has a header in memory and its fields in the target, so
// the limit in bytes bounds their number too.
func charge(size int64) int64 { return max(size, 4096) }

// Entry is the header of one record: of one event, or of a run of consecutive events of a document.
type Entry struct {
	ID       string
	Rev      int64
	Number   int64 // event number of the flow
	Position event.Position
	Size     int64 // of the event that is kept
	Whole    bool  // a full image or a delete that is kept: it needs nothing of what came before
	State    parked.State
	Reason   parked.Reason
	Attempts int
	Counted  bool // as failed, before an operator asked to replay it

	// Events is how many events the record stands for when it is a run, and Until the last one's position; else zero.
	Events int64
	Until  event.Position

	Dropped bool // the event of a dead letter was let go

	tried bool // by this owner; a full image is tried once as soon as it is known
}

// EntryOf returns the header of a record.
func EntryOf(r *parked.Record) (event.Key, Entry) {
	key := event.Key(r.Key.Data)

	e := Entry{
		ID: r.ID, Rev: r.Rev, Number: r.Number, Position: r.Position, Dropped: !r.Dropped.IsZero(),
		// What was not kept, and what is to be read from the source under another name of its collection, says nothing
		// by itself.
		Whole: IsWhole(r.Operation) && key.IsDocument() && r.Reason != parked.Unfitting && r.IsKept(),
		State: r.State, Reason: r.Reason, Attempts: r.Attempts, Counted: r.Counted, Events: r.Events, Until: r.Until,
	}

	if r.IsKept() {
		e.Size = r.Size
	}

	return key, e
}

// IsRun tells whether the record stands for events of which none was kept.
func (e *Entry) IsRun() bool { return e.Events > 0 }

// isKept tells whether the event can be written; else only the source's document can take its place.
func (e *Entry) isKept() bool { return !e.IsRun() && !e.Dropped }

// events is how many events the record stands for.
func (e *Entry) events() int64 { return max(e.Events, 1) }

// until is the position of the last of them.
func (e *Entry) until() event.Position {
	if e.IsRun() {
		return e.Until
	}

	return e.Position
}

// isSane tells whether the entry may be one that somebody waits for, or a dead letter.
func (e *Entry) isSane() bool {
	return e.Size >= 0 && e.Attempts >= 0 && e.Events >= 0 && e.Position.Compare(e.until()) <= 0 &&
		(e.State == parked.Waiting || e.State == parked.Dead && e.Counted)
}

// IsWhole tells whether an operation leaves a document that does not depend on what came before.
func IsWhole(op event.Operation) bool {
	return op == event.Insert || op == event.Replace || op == event.Delete
}

// Partition is the parked documents of one partition, as the target holds them. Not for concurrent use.
type Partition struct {
	policy    Policy
	documents map[event.Key]*document
	due       queue // documents with something to do, the first due at the top
	covered   map[event.Key]bson.Timestamp
	oldest    bson.Timestamp // of covered; zero when it is empty
	view      View
	held      func(event.Key) bool // see Hold; nil: nobody is

	waiting int64 // events that wait and were not counted: pending
	dead    int64
	bytes   int64 // of waiting events and dead letters, as charged
}

// New returns the parked documents of a partition that has none.
func New(policy Policy) *Partition {
	return &Partition{policy: policy, documents: map[event.Key]*document{}, covered: map[event.Key]bson.Timestamp{}}
}

// Load takes in a record that a new owner finds. Clocks of hosts are not compared: the wait of the present attempt
// starts anew. States that are no longer anybody's are refused with ErrRecords.
func (p *Partition) Load(r *parked.Record, now time.Time) error {
	key, e := EntryOf(r)

	if key == "" || !e.isSane() {
		return fmt.Errorf("%w: record %s is %q, %d attempts", parked.ErrRecords, e.ID, e.State, e.Attempts)
	}

	d := p.document(key)
	d.insert(&e)
	p.count(&e, 1)
	p.wake(d, d.after(&p.policy, now))

	return nil
}

// LoadCovered takes in what is remembered of a document that was read from the source again.
func (p *Partition) LoadCovered(key event.Key, t bson.Timestamp) { p.cover(key, t) }

// Waiting is how many events wait that were not counted yet; Dead how many letters are; Bytes what all of them take.
func (p *Partition) Waiting() int64 { return p.waiting }

// Dead is how many dead letters the partition has; one may stand for many events.
func (p *Partition) Dead() int64 { return p.dead }

// Bytes is the room that waiting events and dead letters take.
func (p *Partition) Bytes() int64 { return p.bytes }

// count adds an entry to the sums, or takes it out.
func (p *Partition) count(e *Entry, sign int64) {
	p.bytes += sign * charge(e.Size)

	switch {
	case e.State == parked.Dead:
		p.dead += sign
	case !e.Counted:
		p.waiting += sign * e.events()
	}
}

func (p *Partition) document(key event.Key) *document {
	d := p.documents[key]
	if d == nil {
		d = &document{key: key, index: -1}
		p.documents[key] = d
	}

	return d
}

func (p *Partition) cover(key event.Key, t bson.Timestamp) {
	p.covered[key] = t
	if p.oldest.IsZero() || t.Before(p.oldest) {
		p.oldest = t
	}
}

// Hold says which documents a person wants to be left alone, until another call says otherwise: what comes for them is
// parked, and nothing parked of them is tried. nil: none. Those that are let go are due as if they had just been found.
func (p *Partition) Hold(held func(event.Key) bool, now time.Time) {
	before := p.held
	p.held = held

	for _, key := range slices.Sorted(maps.Keys(p.documents)) { // equal inputs give equal runs
		if wasHeld := before != nil && before(key); wasHeld != p.holds(key) {
			d := p.documents[key]
			p.wake(d, d.after(&p.policy, now))
		}
	}
}

func (p *Partition) holds(key event.Key) bool { return p.held != nil && p.held(key) }

// wake makes the document due at a time; one without anything to do leaves the queue, one without entries is forgotten.
func (p *Partition) wake(d *document, at time.Time) {
	if len(d.entries) == 0 {
		delete(p.documents, d.key)
	} else if d.index < 0 {
		d.order = d.entries[0].Position
	}

	idle := d.asking || d.first() == nil || p.holds(d.key)

	switch {
	case idle && d.index >= 0:
		heap.Remove(&p.due, d.index)
	case idle:
	case d.index >= 0:
		d.at = at
		heap.Fix(&p.due, d.index)
	default:
		d.at = at
		heap.Push(&p.due, d)
	}
}

// Changed takes in a record that an operator changed: a dead letter to be replayed, or discarded. Others are left as
// they are. The rev of what is not known any more says that the records have to be read again.
func (p *Partition) Changed(r *parked.Record, now time.Time) {
	key, changed := EntryOf(r)

	d := p.documents[key]
	if d == nil {
		return
	}

	e := d.find(changed.ID)
	if e == nil || changed.Rev <= e.Rev || e.State != parked.Dead {
		return
	}

	p.count(e, -1)

	switch changed.State {
	case parked.Waiting:
		unfitting := key.IsDocument() && (e.Reason == parked.Unfitting || d.missed(e))
		e.Rev, e.State, e.Attempts, e.tried = changed.Rev, parked.Waiting, 0, false
		if e.Reason = parked.Follows; unfitting { // tried as it is, unless the document missed a change before it
			e.Reason = parked.Unfitting
		}

		p.count(e, 1)
	default:
		d.remove(e)
	}

	p.wake(d, now)
}

// DeadIDs returns the ids of all dead letters, in order.
func (p *Partition) DeadIDs() []string {
	ids := make([]string, 0, p.dead)

	for _, d := range p.documents {
		for _, e := range d.entries {
			if e.State == parked.Dead {
				ids = append(ids, e.ID)
			}
		}
	}

	slices.Sort(ids)

	return ids
}

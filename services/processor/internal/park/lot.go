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

// Fate is what a lot does to an event.
type Fate int

// The fates.
const (
	Apply  Fate = iota // write it
	Skip               // it is covered, by a later event or by an image of the source
	Follow             // park it behind others of its document
	Refuse             // park it, or leave it parked: the target refused it
	Keep               // leave it parked as it is
	Drop               // let go of a dead letter's event
)

// Item is an event of a lot.
type Item struct {
	ID       string    // of its record, should it need one
	Key      event.Key // empty when it concerns no single document
	Number   int64
	Position event.Position
	Size     int64
	Whole    bool

	Entry *Entry // of an event that is parked already; nil for one of the stream
	Fate  Fate

	refusal Refusal
	held    bool // it is to be left alone; by Sort
	counted bool // the refusal is a try that counts; by Effects
	gaveWay bool // the document is deleted, so that others can go on; by Effects
}

// Refusal is why the target refused an event.
type Refusal struct {
	Reason parked.Reason // Failed, Conflict or Unfitting
	Code   int
	Text   string // shows no content
	Final  bool   // it must not be tried again later
}

// Lot is what one transaction does. Fates change by Refuse until the rest can be committed.
type Lot struct {
	Items []Item
	// Image says that the source's document is written in the place of the events; the first item bears what the
	// target says about it.
	Image bool

	p     *Partition
	time  bson.Timestamp // of the image
	came  time.Time      // when it came
	until event.Position // of a batch: where the partition is after it
	tried []*document

	leaving *departure // of a lot that departs; see Depart
}

// Sort makes a lot of a batch. Events are in the order of the stream; until is the position of the last.
func (p *Partition) Sort(items []Item) *Lot {
	l := &Lot{Items: items, p: p}
	behind, lifted := map[event.Key]bool{}, map[event.Key]bool{}

	for i := range items {
		item := &items[i]
		l.until = item.Position

		if item.Key == "" {
			continue
		}

		t, covered := p.covered[item.Key]
		d := p.documents[item.Key]

		switch {
		case covered && upTo(item.Position, t):
			item.Fate = Skip
		case p.holds(item.Key):
			item.Fate, item.held = Follow, true
		case behind[item.Key]:
			item.Fate = Follow
		case d == nil, lifted[item.Key]:
		case d.first() == nil && !item.Key.IsDocument(): // one that was given up marks only its own document
		case d.first() == nil && item.Whole: // it ends the mark, and lets pass what is behind it
			lifted[item.Key] = true
		default:
			item.Fate = Follow
			behind[item.Key] = true
		}
	}

	return l
}

// Reach makes a lot of a partition that has settled everything up to a position.
func (p *Partition) Reach(until event.Position) *Lot { return &Lot{p: p, until: until} }

// Drop makes a lot of those of the dead letters, by id, whose events are kept and are not to be any more. It returns nil
// when there are none.
func (p *Partition) Drop(letters map[string]event.Key) *Lot {
	l := &Lot{p: p}

	for _, id := range slices.Sorted(maps.Keys(letters)) { // equal inputs give equal runs
		d := p.documents[letters[id]]
		if d == nil {
			continue
		}

		if e := d.find(id); e != nil && e.State == parked.Dead && e.isKept() {
			l.add(d, e, Drop)
		}
	}

	if len(l.Items) == 0 {
		return nil
	}

	return l
}

// Refused tells whether the lot has nothing left to write to documents.
func (l *Lot) Refused() bool {
	if l.Image {
		return l.Items[0].Fate == Refuse
	}

	for i := range l.Items {
		if l.Items[i].Fate == Apply {
			return false
		}
	}

	return true
}

// maxBytes bounds the events of a lot of tries; one may be larger.
const maxBytes = 8 << 20

// Ask is a document to ask the source for; the record names it. The image has to be of the position or later.
type Ask struct {
	Key       event.Key
	ID        string
	NotBefore event.Position
}

// Next returns what is due, of at most so many documents: a lot to try, whose documents are left alone until it is Done or Postponed, and the
// documents to ask the source for.
func (p *Partition) Next(now time.Time, most int) (*Lot, []Ask) {
	l := &Lot{p: p}

	var (
		asks  []Ask
		bytes int64
	)

	for len(p.due) > 0 && !p.due[0].at.After(now) && len(l.tried)+len(asks) < most && len(l.Items) < p.policy.Together && bytes < maxBytes {
		d := p.due[0]
		if !d.key.IsDocument() && len(l.tried) > 0 { // tried alone: not what one transaction with others does
			break
		}

		p.leave(d)

		e := d.target()
		if d.needsImage(e) {
			d.asking = true
			asks = append(asks, Ask{Key: d.key, ID: e.ID, NotBefore: d.until(e)})

			continue
		}

		before := len(l.Items)
		l.try(d, e, maxBytes-bytes)

		for i := before; i < len(l.Items); i++ {
			if l.Items[i].Fate == Apply {
				bytes += l.Items[i].Size
			}
		}

		if !d.key.IsDocument() {
			break
		}
	}

	if len(l.tried) == 0 {
		return nil, asks
	}

	return l, asks
}

// Due returns when Next has something to do; ok is false when only others can change that.
func (p *Partition) Due() (at time.Time, ok bool) {
	if len(p.due) == 0 {
		return time.Time{}, false
	}

	return p.due[0].at, true
}

// try adds the events of a document that are tried together: what the target covers, the target, and untried ones
// behind it.
func (l *Lot) try(d *document, target *Entry, room int64) {
	l.tried = append(l.tried, d)
	alone := target.Attempts > 0 || target.tried || d.lacks()

	for _, e := range d.entries {
		if e.State != parked.Waiting {
			continue
		}

		switch before := e.Position.Compare(target.Position); {
		case before < 0:
			l.add(d, e, Skip)
		case before == 0:
			l.add(d, e, Apply)
			room -= e.Size
		case alone || len(l.Items) >= l.p.policy.Together || e.Size > room || e.Attempts > 0 || e.Reason != parked.Follows:
			return
		default:
			l.add(d, e, Apply)
			room -= e.Size
		}
	}
}

// add takes in a parked event. In a stream that was made anew numbers come again:
// two events of a lot must not have the same one, or Refuse would take the wrong one.
func (l *Lot) add(d *document, e *Entry, fate Fate) {
	number := e.Number
	if slices.ContainsFunc(l.Items, func(other Item) bool { return other.Number == number }) {
		number = -1 - int64(len(l.Items))
	}

	l.Items = append(l.Items, Item{
		ID: e.ID, Key: d.key, Number: number, Position: e.Position, Size: e.Size, Whole: e.Whole, Entry: e, Fate: fate,
	})
}

// leave takes a document out of the queue without a time to come back.
func (p *Partition) leave(d *document) { heap.Remove(&p.due, d.index) }

// Answered makes a lot of the source's document as it was at t. It returns nil when nobody needs it any more, when it is
// older than what it was asked for, and when the document is to be left alone since.
func (p *Partition) Answered(key event.Key, t bson.Timestamp, now time.Time) *Lot {
	d := p.documents[key]
	if d == nil || !d.asking {
		return nil
	}

	d.asking = false

	first := d.first()
	if first == nil || !upTo(first.until(), t) || p.holds(key) {
		p.Unanswered(key, now)

		return nil
	}

	l := &Lot{p: p, Image: true, time: t, came: now, tried: []*document{d}}

	for _, e := range d.entries {
		if e.State == parked.Waiting && upTo(e.until(), t) {
			l.add(d, e, Skip)
		}
	}

	return l
}

// Unanswered says that the source could not be asked. Nothing is counted.
func (p *Partition) Unanswered(key event.Key, now time.Time) {
	d := p.documents[key]
	if d == nil {
		return
	}

	d.asking = false
	d.soon++
	p.wake(d, now.Add(backoff(firstAsk, lastAsk, d.soon-1)))
}

// Postpone gives up a lot of tries that could not be made.
func (l *Lot) Postpone(until time.Time) {
	for _, d := range l.tried {
		l.p.wake(d, until)
	}
}

// Full says why the lot cannot be committed with these effects now: there is no room for what it parks. It is empty when
// there is, and for a lot that departs: whoever waits behind a schema change could make no room.
func (l *Lot) Full(fx *Effects) string {
	p := l.p
	if l.leaving != nil || fx.Bytes <= p.bytes || fx.Bytes+p.view.Bytes <= p.policy.MaxTotal {
		return ""
	}

	if p.held != nil {
		return fmt.Sprintf("events that are set aside take PARK_MAX_BYTES (%d bytes): resume namespaces that are paused, replay or discard dead letters, or raise it",
			p.policy.MaxTotal)
	}

	return fmt.Sprintf("events that could not be applied take PARK_MAX_BYTES (%d bytes): replay or discard dead letters, or raise it", p.policy.MaxTotal)
}

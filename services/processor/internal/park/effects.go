package park

import (
	"slices"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/atlas-relay/atlas-relay/pkg/event"
	"github.com/atlas-relay/atlas-relay/pkg/parked"
)

// Effects are what the lot's transaction does beside the writes to documents.
type Effects struct {
	Inserts []Insert
	Updates []Update
	Deletes []*Entry

	// What the lot adds to the partition's counters.
	Processed, Failed int64
	// Parked, Dead and Bytes are the partition's sums after it.
	Parked, Dead, Bytes int64

	// Cover is a document that the source's image covers up to a time; nil for none. Forget are those whose time has
	// passed.
	Cover  *Cover
	Forget []event.Key

	// GiveWay says that the document of the first item is to be deleted: it may hold, in a unique index, what the
	// event that conflicts with it is waiting for.
	GiveWay bool

	// Moves are records that follow their collection to another name, and Owed documents that the source is to be asked
	// for under that name.
	Moves []Move
	Owed  []Owed
}

// Cover is a document with the time of the image that it was replaced by.
type Cover struct {
	Key  event.Key
	Time bson.Timestamp
}

// Insert is a record to be made of an item of the stream.
type Insert struct {
	Item    int // index in the lot
	Entry   Entry
	Refusal Refusal // without a reason for what was not tried
}

// Update is a record that changes: what became of it, or a run that more events joined. Its state tells whether it stays
// in memory.
type Update struct {
	Before  *Entry
	After   Entry
	Refusal Refusal // zero when the target was not asked
}

// Nothing tells whether a transaction would change nothing but what memory knows.
func (fx *Effects) Nothing() bool {
	return len(fx.Inserts)+len(fx.Updates)+len(fx.Deletes) == 0 && fx.Processed == 0 && fx.Cover == nil && !fx.GiveWay
}

// Effects works out what committing the lot as it stands means.
func (l *Lot) Effects() Effects {
	b := &build{Lot: l, led: map[event.Key]bool{}, tails: map[event.Key]*tail{}}
	b.fx.Parked, b.fx.Dead, b.fx.Bytes = l.p.waiting, l.p.dead, l.p.bytes

	for i := range l.Items {
		if item := &l.Items[i]; item.Entry == nil {
			b.arrived(i, item)
		} else {
			b.tried(item)
		}
	}

	for _, t := range b.order {
		b.endRun(t)
	}

	if l.Image && !l.Refused() {
		b.fx.Cover = &Cover{Key: l.Items[0].Key, Time: l.time}

		for _, e := range l.tried[0].entries {
			if e.State == parked.Dead && upTo(e.until(), l.time) {
				b.end(e, parked.Superseded)
			}
		}
	}

	b.fx.Forget = l.p.passed(l.until)
	b.depart()

	return b.fx
}

type build struct {
	*Lot
	fx    Effects
	led   map[event.Key]bool  // of documents with items parked by this lot: the last of them waits
	tails map[event.Key]*tail // of documents with items parked by this lot
	order []*tail             // as they came: equal inputs give equal effects
}

// arrived settles an item of the stream.
func (b *build) arrived(i int, item *Item) {
	switch item.Fate {
	case Apply, Skip:
		b.fx.Processed++

		if item.Whole && item.Fate == Apply {
			b.supersede(item)
		}
	default:
		b.park(i, item)
	}
}

// park sets an item of the stream aside, in a record of its own or in a run.
func (b *build) park(i int, item *Item) {
	t := b.tail(item.Key)
	if item.Fate == Follow && b.join(t, i, item) {
		return
	}

	e := Entry{
		ID: item.ID, Rev: 1, Number: item.Number, Position: item.Position, Size: item.Size, Whole: item.Whole,
		State: parked.Waiting, Reason: b.behind(item), tried: item.Fate == Refuse,
	}

	if item.Fate == Refuse {
		b.judge(&e, item)
	}

	if e.State == parked.Waiting {
		t.kept++
		t.bytes += item.Size
	}

	b.led[item.Key] = e.State == parked.Waiting
	b.endRun(t) // before a later image that was refused by itself, say
	b.insert(Insert{Item: i, Entry: e, Refusal: item.refusal})
}

func (b *build) insert(in Insert) {
	b.fx.Inserts = append(b.fx.Inserts, in)
	b.enter(&in.Entry, 1)
}

// behind is why an event is parked that nobody tried.
func (b *build) behind(item *Item) parked.Reason {
	switch {
	case item.Fate != Follow || b.leads(item.Key):
		return parked.Follows
	case item.held && !b.isMarked(item.Key):
		return parked.Paused
	case !item.Whole && item.Key.IsDocument() && b.isMarked(item.Key):
		// The mark before it may end by an operator's hand, without the change that it stands for.
		return parked.Unfitting
	default:
		return parked.Follows
	}
}

// isMarked tells whether the document has missed a change, with this lot.
func (b *build) isMarked(key event.Key) bool {
	if led, known := b.led[key]; known {
		return !led
	}

	d := b.p.documents[key]

	return d != nil && len(d.entries) > 0
}

// leads tells whether the document's last event waits: one that comes behind a mark does not follow it.
func (b *build) leads(key event.Key) bool {
	if led, known := b.led[key]; known {
		return led
	}

	d := b.p.documents[key]

	return d != nil && len(d.entries) > 0 && d.entries[len(d.entries)-1].State == parked.Waiting
}

// tried settles an item that was parked.
func (b *build) tried(item *Item) {
	e := item.Entry

	switch item.Fate {
	case Apply, Skip:
		if item.Whole && item.Fate == Apply {
			b.supersede(item)
		}

		switch {
		case !e.Counted:
			b.fx.Processed += e.events()
			b.fx.Deletes = append(b.fx.Deletes, e)
			b.enter(e, -1)
		case item.Fate == Apply:
			b.end(e, parked.Replayed)
		case b.Image && e.Refetch:
			b.end(e, parked.Replaced)
		default:
			b.end(e, parked.Superseded)
		}
	case Keep, Follow:
	case Drop:
		after := *e
		after.Dropped, after.Whole, after.Size = true, false, 0
		b.fx.Updates = append(b.fx.Updates, Update{Before: e, After: after})
		b.enter(e, -1)
		b.enter(&after, 1)
	case Refuse:
		after := *e
		b.judge(&after, item)
		after.tried = true

		if after.State != e.State || after.Reason != e.Reason || after.Attempts != e.Attempts || b.isNews(item) {
			b.fx.Updates = append(b.fx.Updates, Update{Before: e, After: after, Refusal: item.refusal})
			b.enter(e, -1)
			b.enter(&after, 1)
		}

		if after.State == parked.Dead {
			b.orphan(item)
		}
	}
}

// isNews tells whether the record is to say for the first time that the source's document conflicts, which its reason
// does not.
func (b *build) isNews(item *Item) bool {
	return b.Image && item.refusal.Reason == parked.Conflict && item.Entry.Reason == parked.Unfitting &&
		b.p.documents[item.Key].sighted.came.IsZero()
}

// judge is what a refusal makes of an event.
func (b *build) judge(e *Entry, item *Item) {
	why := item.refusal

	// What only the source's document can take the place of stays so, whatever is wrong with that one: the event is of
	// before a rename, or behind a mark, also for the next owner and for a replay.
	if e.Reason != parked.Unfitting || e.Whole {
		e.Reason = why.Reason
	}

	item.counted = b.counts(e, item)
	if !item.counted {
		return
	}

	e.Attempts++

	if e.Counted || item.refusal.Final || e.Attempts > b.p.policy.Retries {
		if !e.Counted {
			b.fx.Failed += e.events()
		}

		e.State, e.Counted, e.Refetch = parked.Dead, true, false
	}
}

// counts tells whether a refusal is the document's own failure. A delta that does not fit is not before the source was
// asked.
func (b *build) counts(e *Entry, item *Item) bool {
	switch item.refusal.Reason {
	case parked.Unfitting:
		return false
	case parked.Conflict:
		return b.countsConflict(e, item)
	default:
		return true
	}
}

// countsConflict: a conflict counts when nobody else can end it any more. The source's present document conflicts too,
// as an earlier one did, and everything that came before that one is applied; the document does not stand in anybody's
// way itself, and nothing that waits in the flow has moved since the last try. What is held could not have moved.
func (b *build) countsConflict(e *Entry, item *Item) bool {
	v, d := &b.p.view, b.p.documents[item.Key]
	if b.p.held != nil || !b.Image || !v.settled(e.Position) || !v.overtook(&d.sighted) {
		return false
	}

	if v.crowded() && !d.gaveWay {
		b.fx.GiveWay, item.gaveWay = true, true

		return false
	}

	return v.standsStill(&d.seen)
}

// supersede ends the dead letters of a document before a full image of it.
func (b *build) supersede(item *Item) {
	d := b.p.documents[item.Key]
	if d == nil {
		return
	}

	for _, e := range d.entries {
		if e.State == parked.Dead && e.Position.Compare(item.Position) < 0 && !b.ended(e) {
			b.end(e, parked.Superseded)
		}
	}
}

func (b *build) ended(e *Entry) bool {
	for i := range b.fx.Updates {
		if b.fx.Updates[i].Before == e {
			return true
		}
	}

	return false
}

// end is a record that stays for people only.
func (b *build) end(e *Entry, state parked.State) {
	after := *e
	after.State = state
	b.fx.Updates = append(b.fx.Updates, Update{Before: e, After: after})
	b.enter(e, -1)
}

// orphan marks the first delta behind a letter that died: should the mark end by an operator's hand, it must still not
// land on a document that missed a change.
func (b *build) orphan(item *Item) {
	if !item.Key.IsDocument() {
		return
	}

	d := b.p.documents[item.Key]

	for _, e := range d.entries {
		if e.State != parked.Waiting || e.Position.Compare(item.Position) <= 0 {
			continue
		}

		if !e.Whole && !e.Refetch && e.Reason == parked.Follows {
			after := *e
			after.Reason = parked.Unfitting
			b.fx.Updates = append(b.fx.Updates, Update{Before: e, After: after})
		}

		return
	}
}

// enter adds an entry to the sums, or takes it out.
func (b *build) enter(e *Entry, sign int64) {
	b.fx.Bytes += sign * charge(e.Size)

	switch {
	case e.State == parked.Dead:
		b.fx.Dead += sign
	case !e.Counted:
		b.fx.Parked += sign * e.events()
	}
}

// passed returns the covered documents whose time is behind the position.
func (p *Partition) passed(position event.Position) []event.Key {
	if p.oldest.IsZero() || upTo(position, p.oldest) {
		return nil
	}

	var passed []event.Key

	for key, t := range p.covered {
		if !upTo(position, t) {
			passed = append(passed, key)
		}
	}

	slices.Sort(passed)

	return passed
}

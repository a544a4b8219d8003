package park

import (
	"maps"
	"slices"
	"time"

	"github.com/atlas-relay/atlas-relay/pkg/event"
	"github.com/atlas-relay/atlas-relay/pkg/parked"
)

// Concern is what a schema change means for what is parked.
type Concern struct {
	// Drops tells whether the documents that the collection had before the change are gone.
	Drops func(event.Namespace) bool
	// Moves tells the name that they have after it.
	Moves func(event.Namespace) (event.Namespace, bool)
	// Supersedes tells whether an earlier schema change, by the id of its record, has nothing to do any more.
	Supersedes func(id string) bool
}

// Move is a record that follows its collection to another name. What leads to another partition is read from the
// target by that one's owner: see Adopt.
type Move struct {
	Before *Entry
	After  Entry
	Key    event.Key // under the new name
	// Stays tells that it stays in this partition.
	Stays bool
}

// Owed is a document that is to be read from the source: the image that this partition wrote of it is of a time after
// the collection was renamed, so it is not what was renamed.
type Owed struct {
	Covered event.Key // what the partition remembers
	Key     event.Key // under the new name
}

// departure is what a lot does to what is parked when the partition goes on behind a schema change.
type departure struct {
	ends  []*Entry
	moves []Move
	owed  []Owed
	// uncovered documents are those whose events behind the change count again, because what the image had is gone.
	uncovered []event.Key
}

// Depart makes a lot of a partition that goes on behind a schema change at a position.
//
//	its documents are gone     what waits is settled, dead letters are superseded
//	they have another name     their events may come through another partition from now on, whose owner asks the source
//	                           for what waits; here it is settled
//	another change waits       it follows its collection, or has nothing to do any more
//
// In partition 0 the change itself comes first.
func (p *Partition) Depart(at event.Position, c *Concern, change ...Item) *Lot {
	l := &Lot{Items: change, p: p, until: at, leaving: &departure{}}

	for _, key := range slices.Sorted(maps.Keys(p.documents)) {
		d, ns := p.documents[key], key.Namespace()
		to, moves := c.Moves(ns)

		switch {
		case key.IsChange():
			l.departChange(d, c)
		case c.Drops(ns):
			l.drop(d)
		case moves:
			l.move(d, key.In(to))
		}
	}

	for _, key := range slices.Sorted(maps.Keys(p.covered)) {
		to, moves := c.Moves(key.Namespace())
		if moves && upTo(at, p.covered[key]) {
			l.leaving.owed = append(l.leaving.owed, Owed{Covered: key, Key: key.In(to)})
		}

		if moves || c.Drops(key.Namespace()) {
			l.leaving.uncovered = append(l.leaving.uncovered, key)
		}
	}

	return l
}

// IsIdle tells whether the partition departs without anything to be written.
func (l *Lot) IsIdle() bool {
	return len(l.Items)+len(l.leaving.moves)+len(l.leaving.uncovered) == 0
}

// Owes tells whether the lot leaves documents to be read from the source.
func (l *Lot) Owes() bool { return len(l.leaving.owed) > 0 }

// drop settles what waits of a document, and ends its dead letters.
func (l *Lot) drop(d *document) {
	for _, e := range d.entries {
		switch e.State {
		case parked.Dead:
			l.add(d, e, Keep)
			l.leaving.ends = append(l.leaving.ends, e)
		default:
			l.add(d, e, Skip)
		}
	}
}

// departChange lets a schema change that waits, or was given up, follow its collection, or end.
func (l *Lot) departChange(d *document, c *Concern) {
	if c.Supersedes(d.entries[0].ID) {
		l.drop(d)

		return
	}

	if to, moves := c.Moves(d.key.Namespace()); moves {
		for _, e := range d.entries {
			l.add(d, e, Keep)
			l.leaving.moves = append(l.leaving.moves, Move{Before: e, After: *e, Key: d.key.In(to), Stays: true})
		}
	}
}

// move hands what is parked of a document over. Of what waits the last event stands for all: the source is asked for
// the document. So it is for a dead letter: its mark could come to the other partition behind an image that ends it. Where a key stands for a whole collection nobody can be asked, and what waits is given up.
func (l *Lot) move(d *document, key event.Key) {
	last := -1

	for i, e := range d.entries {
		if e.State == parked.Waiting {
			last = i
		}
	}

	for i, e := range d.entries {
		m := Move{Before: e, After: *e, Key: key}

		switch {
		case !d.key.IsDocument():
			m.Stays, m.After.State, m.After.Counted = true, parked.Dead, true
		case e.State == parked.Waiting && i != last:
			l.add(d, e, Skip)

			continue
		default:
			m.After.State, m.After.Reason, m.After.Attempts, m.After.Counted, m.After.Whole = parked.Waiting, parked.Unfitting, 0, true, false
		}

		l.add(d, e, Keep)
		l.leaving.moves = append(l.leaving.moves, m)
	}
}

// depart adds what leaving means to the effects.
func (b *build) depart() {
	if b.leaving == nil {
		return
	}

	for _, e := range b.leaving.ends {
		b.end(e, parked.Superseded)
	}

	for i := range b.leaving.moves {
		m := &b.leaving.moves[i]
		b.enter(m.Before, -1)

		switch {
		case m.Stays:
			b.enter(&m.After, 1)

			if m.After.Counted && !m.Before.Counted {
				b.fx.Failed++
			}
		case !m.Before.Counted:
			b.fx.Processed++
		}
	}

	b.fx.Moves, b.fx.Owed = b.leaving.moves, b.leaving.owed

	for _, key := range b.leaving.uncovered {
		if !slices.Contains(b.fx.Forget, key) {
			b.fx.Forget = append(b.fx.Forget, key)
		}
	}
}

// departed takes the moves into memory.
func (l *Lot) departed(now time.Time) {
	if l.leaving == nil {
		return
	}

	for i := range l.leaving.moves {
		m := &l.leaving.moves[i]

		for _, d := range l.p.documents {
			if d.find(m.Before.ID) == m.Before {
				d.remove(m.Before)
				l.p.wake(d, now)

				break
			}
		}

		if m.Stays {
			e := m.After
			e.Rev++

			d := l.p.document(m.Key)
			d.insert(&e)
			l.p.wake(d, d.after(&l.p.policy, now))
		}
	}
}

// Adopt takes in a record that another partition has handed over. Those that are known already, and those that belong
// to the partition's own count, are left alone.
func (p *Partition) Adopt(r *parked.Record, now time.Time) error {
	key, e := EntryOf(r)
	if d := p.documents[key]; !e.Counted || d != nil && d.find(e.ID) != nil {
		return nil
	}

	return p.Load(r, now)
}

// Changes returns the ids of the schema changes that wait or were given up, in order.
func (p *Partition) Changes() []string {
	var ids []string

	for _, key := range slices.Sorted(maps.Keys(p.documents)) {
		if key.IsChange() {
			for _, e := range p.documents[key].entries {
				ids = append(ids, e.ID)
			}
		}
	}

	return ids
}

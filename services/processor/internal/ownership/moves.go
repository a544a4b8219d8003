package ownership

import (
	"context"
	"errors"
	"fmt"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/atlas-relay/atlas-relay/pkg/checkpoint"
	"github.com/atlas-relay/atlas-relay/pkg/event"
	"github.com/atlas-relay/atlas-relay/pkg/parked"
	"github.com/atlas-relay/atlas-relay/services/processor/internal/apply"
	"github.com/atlas-relay/atlas-relay/services/processor/internal/barrier"
	"github.com/atlas-relay/atlas-relay/services/processor/internal/park"
	"github.com/atlas-relay/atlas-relay/services/processor/internal/schema"
)

// loadPassage looks which schema change is being made, after the epoch was raised.
func (p *partition) loadPassage(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()

	d, err := p.store.Barriers(ctx, p.held.Flow)
	if err != nil {
		return err
	}

	p.passage = barrier.Begin(&d, p.held.Position)

	if e := d.Executing; e != nil && e.Operation == event.Rename && !e.NothingParked {
		p.adopting = e.Position
	}

	return nil
}

// nothingToMove tells that no partition has anything parked of the collection that is renamed. All have arrived, so none
// can come to have it; an owner that has come since, and tries what is parked, only makes one of the other: therefore
// the records are looked for first, and what was read from the source again, of whatever collection, after them.
func (p *passing) nothingToMove(ctx context.Context) (bool, error) {
	if p.change.Operation != event.Rename {
		return false, nil
	}

	held, err := parked.Holds(ctx, p.target, p.held.Flow, p.change.Namespace)

	return !held, err
}

// concern is what the change means for what is parked.
func (p *passing) concern(ctx context.Context) (*park.Concern, error) {
	c := &park.Concern{Drops: p.change.Drops, Moves: p.change.Moves, Supersedes: func(string) bool { return false }}

	ids := p.parked.Changes()
	if len(ids) == 0 {
		return c, nil
	}

	ended, err := p.superseded(ctx, ids)
	if err != nil {
		return nil, err
	}

	c.Supersedes = func(id string) bool { return ended[id] }

	return c, nil
}

// superseded are the earlier changes, by the ids of their records, that have nothing to do any more.
func (p *passing) superseded(ctx context.Context, ids []string) (map[string]bool, error) {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()

	records, err := parked.LoadIDs(ctx, p.target, ids)
	if err != nil {
		return nil, err
	}

	ended := make(map[string]bool, len(records))

	for i := range records {
		r := &records[i]

		raw, err := parked.LoadEvent(ctx, p.target, r)
		if errors.Is(err, parked.ErrNoEvent) { // its payload was dropped
			ended[r.ID] = p.change.Drops(r.Namespace())

			continue
		}

		if err != nil {
			return nil, err
		}

		e, err := event.Parse(raw)
		if err != nil {
			return nil, fmt.Errorf("%w: record %s: %w", parked.ErrRecords, r.ID, err)
		}

		earlier, err := schema.Parse(&e)
		if err != nil {
			continue // it never had anything to do
		}

		earlier.Namespace = r.Namespace()
		ended[r.ID] = p.change.Supersedes(&earlier)
	}

	return ended, nil
}

// moving is the record of a collection that has another name now.
func (l *lane) moving(m *park.Move) apply.Note {
	ns, partition := m.Key.Namespace(), l.number
	if !m.Stays {
		partition = m.Key.Partition(l.stream.Partitions)
	}

	set := bson.D{
		{Key: "partition", Value: partition},
		{Key: "key", Value: bson.Binary{Data: []byte(m.Key)}},
		{Key: "db", Value: ns.DB},
		{Key: "coll", Value: ns.Coll},
		{Key: "state", Value: m.After.State},
		{Key: "reason", Value: m.After.Reason},
		{Key: "attempts", Value: m.After.Attempts},
		{Key: "counted", Value: m.After.Counted},
	}

	if m.After.State != m.Before.State {
		set = append(set, bson.E{Key: "changed", Value: l.now().UTC()})
	}

	if m.After.State == parked.Dead && m.Before.State != parked.Dead {
		set = append(set, bson.E{Key: "error", Value: "its collection was renamed while it waited"})
	}

	return apply.UpdateNote(parked.Collection, unchanged(m.Before), bson.D{
		{Key: "$set", Value: set}, {Key: "$inc", Value: bson.D{{Key: "rev", Value: int64(1)}}},
	})
}

// coveredKeys are the document keys of what the lot owes, as the target has them.
func (l *lane) coveredKeys(ctx context.Context, lot *park.Lot) (map[event.Key]bson.Raw, error) {
	if !lot.Owes() {
		return nil, nil //nolint:nilnil // it owes nothing
	}

	covered, err := parked.LoadCovered(ctx, l.target, l.held.Flow, l.number)
	if err != nil {
		return nil, err
	}

	keys := make(map[event.Key]bson.Raw, len(covered))
	for i := range covered {
		keys[event.Key(covered[i].Key.Data)] = covered[i].DocumentKey
	}

	return keys, nil
}

// owing has the source asked for a document under the new name of its collection. It counts for nothing: the events
// that it stands for were counted when the image of it was written.
//
//nolint:gosec // the stream's numbers stay far below 2^63
func (l *lane) owing(u *unit, o *park.Owed) []apply.Note {
	documentKey := u.covered[o.Covered]
	if documentKey == nil {
		return nil
	}

	m, now, ns := &u.batch[0].Message, l.now().UTC(), o.Key.Namespace()

	return []apply.Note{apply.InsertNote(parked.Collection, &parked.Record{
		ID: parked.CoveredID(l.held.Flow, l.number, o.Covered) + "/" + m.Position.String(), Rev: 1,
		Flow: l.held.Flow, Partition: o.Key.Partition(l.stream.Partitions), StreamID: m.StreamID, Generation: int64(m.Generation),
		Count: int64(m.Count), Number: int64(m.Event), Position: m.Position, DB: ns.DB, Coll: ns.Coll, Operation: event.Replace,
		Key: bson.Binary{Data: []byte(o.Key)}, DocumentKey: documentKey, State: parked.Waiting, Reason: parked.Unfitting, Counted: true,
		Error: "its collection was renamed when its document had been read from the source", First: now, Last: now, Changed: now,
	})}
}

// adopt takes in what other partitions hand over after a rename, as long as one of them may.
func (l *lane) adopt(ctx context.Context) error {
	if l.adopting.IsZero() {
		return nil
	}

	ctx, cancel := context.WithTimeout(ctx, loadTimeout)
	defer cancel()

	// First who has gone on, then what they left.
	all, err := checkpoint.Load(ctx, l.target, l.held.Flow)
	if err != nil {
		return err
	}

	beyond := true

	for number := range l.stream.Partitions {
		other := all[number]
		beyond = beyond && (number == l.number || !other.Position.Before(l.adopting))
	}

	now := l.now()

	err = parked.Headers(ctx, l.target, l.held.Flow, l.number, func(r *parked.Record) error { return l.parked.Adopt(r, now) },
		parked.Waiting, parked.Dead)
	if err != nil {
		return err
	}

	l.board.update(func(s *Status) { s.Dead = l.parked.Dead() })

	if beyond {
		l.adopting = event.Position{}
	}

	return nil
}

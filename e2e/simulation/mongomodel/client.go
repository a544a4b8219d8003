package mongomodel

import (
	"cmp"
	"context"
	"fmt"
	"slices"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/atlas-relay/atlas-relay/pkg/checkpoint"
	"github.com/atlas-relay/atlas-relay/pkg/event"
	"github.com/atlas-relay/atlas-relay/pkg/parked"
	"github.com/atlas-relay/atlas-relay/pkg/pause"
	"github.com/atlas-relay/atlas-relay/services/processor/stepwise"
)

// Link is the way between a client and the database.
type Link interface {
	// Call brings a request to the database, where it runs, and the answer back. An error
	// says that there is no answer: the request may have run.
	Call(ctx context.Context, name string, request func()) error
}

// Client is what a processor knows of the target: its store.
type Client struct {
	database *Database
	link     Link
}

// NewClient returns a client.
func NewClient(d *Database, link Link) *Client { return &Client{database: d, link: link} }

// The relay's collections.
func relay(collection string) event.Namespace {
	return event.Namespace{DB: checkpoint.Database, Coll: collection}
}

// Checkpoint implements stepwise.Store.
func (c *Client) Checkpoint(ctx context.Context, flow string, partition int) (held checkpoint.Document, present bool, err error) {
	err = c.link.Call(ctx, "read checkpoint", func() {
		if raw := c.database.Find(relay(checkpoint.Collection), checkpoint.ID(flow, partition)); raw != nil {
			present = bson.Unmarshal(raw, &held) == nil
		}
	})

	return held, present, err
}

// Checkpoints implements stepwise.Store.
func (c *Client) Checkpoints(ctx context.Context, flow string) (map[int]checkpoint.Document, error) {
	all := map[int]checkpoint.Document{}
	err := c.link.Call(ctx, "read checkpoints", func() {
		for _, raw := range c.database.All(relay(checkpoint.Collection)) {
			var d checkpoint.Document
			if bson.Unmarshal(raw, &d) == nil && d.Flow == flow {
				all[d.Partition] = d
			}
		}
	})

	return all, err
}

// Insert implements stepwise.Store.
func (c *Client) Insert(ctx context.Context, owned *checkpoint.Document) error {
	var answer error

	err := c.link.Call(ctx, "insert checkpoint", func() {
		answer = c.database.single(&stepwise.Statement{Namespace: relay(checkpoint.Collection), Verb: stepwise.Insert, Document: owned})
	})

	switch {
	case err != nil:
		return err
	case isConflict(answer):
		return answer
	case answer != nil:
		return stepwise.ErrLostRace
	default:
		return nil
	}
}

// Raise implements stepwise.Store.
func (c *Client) Raise(ctx context.Context, held, owned *checkpoint.Document, moved bool) error {
	var answer error

	filter, update := stepwise.Raising(held, owned, moved)

	err := c.link.Call(ctx, "raise epoch", func() {
		answer = c.database.single(&stepwise.Statement{Namespace: relay(checkpoint.Collection), Verb: stepwise.Update, Filter: filter, Document: update})
	})

	switch {
	case err != nil:
		return err
	case answer == nil, isConflict(answer):
		return answer
	default:
		return stepwise.ErrLostRace
	}
}

// RememberSession implements stepwise.Store. Nobody looks it up here.
func (c *Client) RememberSession(ctx context.Context, _ string, _ int, _ bson.Binary) error {
	return c.link.Call(ctx, "remember session", func() {})
}

// EndTransactions implements stepwise.Store.
func (c *Client) EndTransactions(ctx context.Context, session bson.Binary) error {
	return c.link.Call(ctx, "end transactions", func() { c.database.abort(string(session.Data)) })
}

// Recover implements stepwise.Store: a target with transactions owes nothing.
func (*Client) Recover(context.Context, *checkpoint.Document) error { return nil }

// Barriers implements stepwise.Store: there are no schema changes.
func (c *Client) Barriers(ctx context.Context, flow string) (stepwise.Barriers, error) {
	return stepwise.Barriers{ID: flow, Flow: flow}, c.link.Call(ctx, "read barriers", func() {})
}

// Pause implements stepwise.Store: nobody pauses anything.
func (c *Client) Pause(ctx context.Context, flow string) (pause.Document, error) {
	return pause.Document{Flow: flow}, c.link.Call(ctx, "read pause", func() {})
}

// records returns those that are wanted, in the order of their ids.
func (c *Client) records(ctx context.Context, wanted func(*parked.Record) bool) ([]parked.Record, error) {
	var list []parked.Record

	err := c.link.Call(ctx, "read parked", func() {
		for _, raw := range c.database.All(relay(parked.Collection)) {
			var r parked.Record
			if bson.Unmarshal(raw, &r) == nil && wanted(&r) {
				list = append(list, r)
			}
		}
	})

	return list, err
}

// Headers implements stepwise.Store.
func (c *Client) Headers(ctx context.Context, flow string, partition int, visit func(*parked.Record) error, states ...parked.State) error {
	list, err := c.records(ctx, func(r *parked.Record) bool {
		return r.Flow == flow && r.Partition == partition && slices.Contains(states, r.State)
	})
	if err != nil {
		return err
	}

	for i := range list {
		if err := visit(&list[i]); err != nil {
			return err
		}
	}

	return nil
}

// Covered implements stepwise.Store.
func (c *Client) Covered(ctx context.Context, flow string, partition int) ([]parked.Covered, error) {
	var list []parked.Covered

	err := c.link.Call(ctx, "read refetched", func() {
		for _, raw := range c.database.All(relay(parked.Refetched)) {
			var d parked.Covered
			if bson.Unmarshal(raw, &d) == nil && d.Flow == flow && d.Partition == partition {
				list = append(list, d)
			}
		}
	})

	return list, err
}

// Records implements stepwise.Store.
func (c *Client) Records(ctx context.Context, ids []string) ([]parked.Record, error) {
	return c.records(ctx, func(r *parked.Record) bool { return slices.Contains(ids, r.ID) })
}

// Events implements stepwise.Store.
func (c *Client) Events(ctx context.Context, ids []string) (map[string]bson.Raw, error) {
	list, err := c.Records(ctx, ids)
	if err != nil {
		return nil, err
	}

	events := map[string]bson.Raw{}
	for i := range list {
		events[list[i].ID] = list[i].Event
	}

	for _, id := range ids {
		if len(events[id]) == 0 {
			return nil, fmt.Errorf("%w: record %s is missing", parked.ErrRecords, id)
		}
	}

	return events, nil
}

// Replays implements stepwise.Store.
func (c *Client) Replays(ctx context.Context, flow string, partition int) ([]parked.Record, error) {
	return c.records(ctx, func(r *parked.Record) bool {
		return r.Flow == flow && r.Partition == partition && r.State == parked.Waiting && r.Counted
	})
}

// Earliest implements stepwise.Store.
func (c *Client) Earliest(ctx context.Context, flow string, limit int64) ([]event.Position, error) {
	list, err := c.records(ctx, func(r *parked.Record) bool { return r.Flow == flow && r.State == parked.Waiting })
	if err != nil {
		return nil, err
	}

	positions := make([]event.Position, len(list))
	for i := range list {
		positions[i] = list[i].Position
	}

	slices.SortFunc(positions, event.Position.Compare)

	return positions[:min(len(positions), int(limit))], nil
}

// Applier makes the transactions of one ownership, in a session of its own.
type Applier struct {
	*Client

	session string
	spent   bool
}

// NewApplier returns one.
func (c *Client) NewApplier(session string) *Applier { return &Applier{Client: c, session: session} }

// Session is its id.
func (a *Applier) Session() bson.Binary { return bson.Binary{Subtype: 4, Data: []byte(a.session)} }

// Spent implements stepwise.Applier.
func (a *Applier) Spent() bool { return a.spent }

// Commit implements stepwise.Applier.
func (a *Applier) Commit(ctx context.Context, plan *stepwise.Plan, last, next *checkpoint.Document) error {
	return stepwise.Commit(ctx, a, plan, last, next)
}

// Transaction implements stepwise.Transactions.
func (a *Applier) Transaction(ctx context.Context, plan *stepwise.Plan, last, next *checkpoint.Document) error {
	var answer error

	err := a.link.Call(ctx, "write", func() { answer = a.database.begin(a.session, plan.Statements(last, next)) })
	if cmp.Or(err, answer) != nil {
		a.spent = err != nil
		_ = a.link.Call(ctx, "abort", func() { a.database.abort(a.session) }) // else it stays open

		return cmp.Or(err, answer)
	}

	err = a.link.Call(ctx, "commit", func() { answer = a.database.commit(a.session) })
	if cmp.Or(err, answer) != nil {
		a.spent = true

		return fmt.Errorf("%w: commit: %w", stepwise.ErrInDoubt, cmp.Or(err, answer))
	}

	return nil
}

// Settled implements stepwise.Transactions.
func (a *Applier) Settled(context.Context) { a.spent = false }

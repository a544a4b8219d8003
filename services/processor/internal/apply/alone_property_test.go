package apply_test

import (
	"context"
	"errors"
	"strconv"
	"testing"

	"github.com/stretchr/testify/require"
	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"pgregory.net/rapid"

	"github.com/atlas-relay/atlas-relay/pkg/checkpoint"
	"github.com/atlas-relay/atlas-relay/pkg/event"
	"github.com/atlas-relay/atlas-relay/pkg/mongotest"
	"github.com/atlas-relay/atlas-relay/pkg/parked"
	"github.com/atlas-relay/atlas-relay/pkg/settings"
	"github.com/atlas-relay/atlas-relay/services/processor/internal/apply"
)

// TestWithoutTransactionsTheTargetEndsTheSame is what remains of the package's promise on a standalone server: wherever
// a batch is cut, inside its writes, between any two commands or by a reply that is lost, the documents end as if each
// event had been applied once, in order; every event is counted once; and a record is there exactly when the
// checkpoint says so.
func TestWithoutTransactionsTheTargetEndsTheSame(t *testing.T) {
	t.Parallel()

	server := mongotest.New(t, mongotest.Options{Standalone: true})
	client := server.Client(t)

	for name, options := range modes(t, client) {
		options.NoTransactions = true

		t.Run(name, func(t *testing.T) {
			t.Parallel()

			wire, addr := newWire(t, server.Addr())
			uri := settings.NewURI("mongodb://" + addr + "/?directConnection=true&retryWrites=false&serverMonitoringMode=poll")
			l := loner{client: client, wire: wire, behind: connect(t, uri)}
			l.target = apply.New(l.behind, options)

			rapid.Check(t, func(rt *rapid.T) {
				ns := event.Namespace{DB: "alone_" + strconv.Itoa(len(name)), Coll: "history" + strconv.FormatInt(histories.Add(1), 10)}
				l.ctx, l.ns, l.history = t.Context(), ns, shapeless(rt, ns)

				l.once(rt)
				l.source = images(l.ctx, t, l.coll())
				want := contents(l.ctx, rt, l.coll())
				_, err := l.coll().DeleteMany(l.ctx, bson.D{})
				require.NoError(rt, err)

				l.begin(rt, ns.Coll)

				for l.held.Count < int64(len(l.history)) {
					l.step(rt)
				}

				for _, commit := range l.late {
					commit()
				}

				l.acquire(rt)
				require.Equal(rt, want, contents(l.ctx, rt, l.coll()))
				require.Equal(rt, int64(len(l.history)), l.held.Counters.Processed)
				require.NoError(rt, l.coll().Drop(l.ctx))
				l.end()
			})
		})
	}
}

// loner is the owner of the only partition of a flow on a standalone target.
type loner struct {
	ctx     context.Context
	client  *mongo.Client // directly
	behind  *mongo.Client // through the wire
	wire    *wire
	target  *apply.Target
	ns      event.Namespace
	history []apply.Change
	source  map[event.Key]bson.Raw // documents as the source has them

	held    checkpoint.Document
	applier *apply.Applier
	session *mongo.Session
	refetch map[event.Key]bool // documents read from the source again
	records []string           // that wait, in order
	ends    bool               // the batch at hand ends the first of them
	late    []func()           // batches of owners before
}

func (l *loner) coll() *mongo.Collection { return l.client.Database(l.ns.DB).Collection(l.ns.Coll) }

// once applies the history as it was, which is what all else is compared with.
func (l *loner) once(t *rapid.T) {
	l.begin(t, l.ns.Coll+"-once")

	for i := range l.history {
		plan, err := apply.NewPlan(l.history[i : i+1])
		require.NoError(t, err)

		next := l.next(i + 1)
		require.NoError(t, l.applier.Commit(l.ctx, plan, &l.held, &next))
		l.held = next
	}
}

func (l *loner) begin(t *rapid.T, flow string) {
	l.held = checkpoint.Document{
		ID: checkpoint.ID(flow, 0), Flow: flow, Owner: 1, Place: checkpoint.Place{StreamID: "stream", ResumeToken: bson.Raw{5, 0, 0, 0, 0}},
	}
	l.refetch, l.records, l.late = map[event.Key]bool{}, nil, nil

	_, err := checkpoint.Checkpoints(l.client).InsertOne(l.ctx, l.held)
	require.NoError(t, err)
	l.acquire(t)
}

func (l *loner) end() {
	if l.session != nil {
		l.session.EndSession(l.ctx)
	}

	l.applier, l.session = nil, nil
}

// acquire takes over after a crash. What waits is what the checkpoint counts.
func (l *loner) acquire(t *rapid.T) {
	l.wire.cut("", 0, false, nil)
	l.end()

	held, ok, err := checkpoint.LoadOne(l.ctx, l.client, l.held.Flow, 0)
	require.NoError(t, err)
	require.True(t, ok)

	held.Epoch++
	_, err = checkpoint.Checkpoints(l.client).UpdateOne(l.ctx, bson.D{{Key: "_id", Value: held.ID}},
		bson.D{{Key: "$set", Value: bson.D{{Key: "epoch", Value: held.Epoch}}}})
	require.NoError(t, err)
	require.NoError(t, apply.Recover(l.ctx, l.client, &held))

	l.records = nil

	require.NoError(t, parked.Headers(l.ctx, l.client, held.Flow, 0, func(r *parked.Record) error {
		l.records = append(l.records, r.ID)

		return nil
	}, parked.Waiting))
	require.Len(t, l.records, int(held.Parked))

	left, err := parked.Records(l.client).CountDocuments(l.ctx, bson.D{{Key: "flow", Value: held.Flow}, {Key: "state", Value: parked.Intended}})
	require.NoError(t, err)
	require.Zero(t, left)

	l.session, err = apply.NewSession(l.behind)
	require.NoError(t, err)

	l.held, l.applier = held, l.target.In(l.session)
}

// next is the checkpoint when the first so many events are settled.
func (l *loner) next(count int) checkpoint.Document {
	next := l.held
	next.Commits++
	next.Counters.Processed += int64(count) - next.Count
	next.Counters.Batches++
	next.Count, next.Sequence, next.Position = int64(count), int64(count), l.history[count-1].Position

	return next
}

// step applies a batch, or is cut in its middle.
func (l *loner) step(t *rapid.T) {
	from := int(l.held.Count)
	to := min(from+rapid.IntRange(1, 10).Draw(t, "size"), len(l.history))

	plan := l.plan(t, from, to)
	next := l.next(to)
	l.note(t, plan, &next)

	before := l.held

	switch outcome := rapid.SampledFrom([]string{"commit", "commit", "cut", "cut", "request lost", "reply lost", "twice", "late"}).Draw(t, "outcome"); outcome {
	case "cut": // the target is killed inside its writes
		err := l.applier.WritePrefix(l.ctx, plan, rapid.IntRange(0, plan.Writes()).Draw(t, "writes"))
		if err == nil || !l.again(err) {
			require.NoError(t, err)
		}

		l.acquire(t)
	case "request lost", "reply lost":
		l.wire.cutWrite(rapid.IntRange(0, 6).Draw(t, "command"), outcome == "reply lost")
		l.commit(t, plan, next)
		l.acquire(t)
	case "twice":
		err := l.applier.Commit(l.ctx, plan, &before, &next)
		if err == nil {
			require.NoError(t, l.applier.Commit(l.ctx, plan, &before, &next))
		} else if !l.again(err) {
			require.NoError(t, err)
		}

		l.acquire(t)
	case "late": // it comes when others have gone on
		stale, session := l.applier, l.session
		l.late = append(l.late, func() {
			require.ErrorIs(t, stale.Commit(l.ctx, plan, &before, &next), apply.ErrStale)
			session.EndSession(l.ctx)
		})
		l.session = nil
		l.acquire(t)
	default:
		l.commit(t, plan, next)
	}
}

// plan makes a batch of events of the history, without those that the source's image covers.
func (l *loner) plan(t *rapid.T, from, to int) *apply.Plan {
	var changes []apply.Change

	replaced := map[event.Key]*apply.Change{}

	for i := from; i < to; i++ {
		c := &l.history[i]
		if key := keyOf(c); l.refetch[key] {
			replaced[key] = c
		} else {
			changes = append(changes, *c)
		}
	}

	plan, err := apply.NewPlan(changes)
	require.NoError(t, err)

	for key, c := range replaced {
		plan.Put(c, l.source[key])
	}

	return plan
}

func keyOf(c *apply.Change) event.Key {
	key, _ := event.NewKey(c.Event.Namespace, c.Event.ID())

	return key
}

// note parks an event or ends a record, in the batch's commit.
func (l *loner) note(t *rapid.T, plan *apply.Plan, next *checkpoint.Document) {
	l.ends = false

	if rapid.Bool().Draw(t, "parks") {
		next.Parked++

		plan.Note(apply.InsertNote(parked.Collection, &parked.Record{
			ID: parked.ID(next.Flow, "stream", 0, 0, next.Count), Rev: 1, Flow: next.Flow, State: parked.Waiting,
			Position: next.Position, DocumentKey: bson.Raw{5, 0, 0, 0, 0},
		}))
	}

	if len(l.records) > 0 && rapid.Bool().Draw(t, "ends") {
		next.Parked--
		l.ends = true

		id := bson.E{Key: "_id", Value: l.records[0]}
		plan.Note(apply.UpdateNote(parked.Collection, bson.D{id, {Key: "rev", Value: 1}}, bson.D{{Key: "$inc", Value: bson.D{{Key: "rev", Value: 1}}}}))
		plan.Note(apply.DeleteNote(parked.Collection, bson.D{id}))
	}
}

// commit applies a batch, or leaves it to be applied again.
func (l *loner) commit(t *rapid.T, plan *apply.Plan, next checkpoint.Document) {
	err := l.applier.Commit(l.ctx, plan, &l.held, &next)
	if err == nil {
		l.held = next
		if l.ends {
			l.records = l.records[1:]
		}

		return
	}

	if l.wire.count() == 0 && !l.again(err) {
		require.NoError(t, err)
	}
}

// again tells whether the batch failed by a delta that is applied again to a later version: the source's document
// replaces that.
func (l *loner) again(err error) bool {
	failed, ok := errors.AsType[*apply.EventError](err)
	if !ok || failed.Operation != event.Update {
		return false
	}

	l.refetch[keyOf(&l.history[failed.Number-1])] = true

	return true
}

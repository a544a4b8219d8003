package ownership

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"
	"go.mongodb.org/mongo-driver/v2/bson"
	"pgregory.net/rapid"

	"github.com/atlas-relay/atlas-relay/pkg/mongotest"
	"github.com/atlas-relay/atlas-relay/pkg/parked"
	"github.com/atlas-relay/atlas-relay/pkg/pause"
	"github.com/atlas-relay/atlas-relay/services/processor/internal/apply"
)

// rounds bounds how long a history may take to come to rest: 40 events of one document may need three tries each.
const rounds = 160

// ids of documents, and the partition of each: the same every time.
func idOf(n int) string { return fmt.Sprintf("d%d", n) }

// TestAnyHistoryWithPoisonEndsRight is the promise of parking: however a random history is batched, delivered again and
// cut by owners that come and go, every document that the target accepts ends as the source has it, every other one has
// a dead letter and is not touched by what came after, and each event is counted once.
func TestAnyHistoryWithPoisonEndsRight(t *testing.T) {
	t.Parallel()

	db := mongotest.DB(t)

	for name, options := range modes(t.Context(), t, db.Client()) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()

			rapid.Check(t, func(rt *rapid.T) {
				w := newWorld(t.Context(), rt, db, 3, options)
				defer w.close()

				w.validate(rt)
				w.owner.options.Park.MaxEvents = rapid.SampledFrom([]int{1, 3, 1000}).Draw(rt, "kept")

				for i, s := range w.partitions {
					s.acquire(rt, i)
				}

				w.poisoned(rt)
				w.play(rt, (*world).atRestWithLetters)
				w.requireCounted(rt)
				w.requireHealthy(rt)
				require.NoError(rt, w.coll().Drop(t.Context()))
			})
		})
	}
}

// poisoned writes a history in which some documents become such that the target refuses them, and some recover.
func (w *world) poisoned(t *rapid.T) {
	for n := range rapid.IntRange(1, 40).Draw(t, "events") {
		k := rapid.IntRange(0, 5).Draw(t, "id")
		id, partition := idOf(k), k%len(w.partitions)

		if w.last()[id] == nil {
			w.put(t, partition, id, v(n), bad(rapid.SampledFrom([]int{0, 0, 0, 1}).Draw(t, "bad")))

			continue
		}

		switch rapid.SampledFrom([]string{"set", "set", "bad", "put", "remove"}).Draw(t, "operation") {
		case "set":
			w.set(t, partition, id, "v", n)
		case "bad":
			w.set(t, partition, id, "bad", rapid.IntRange(0, 1).Draw(t, "bad"))
		case "put":
			w.put(t, partition, id, v(n), bad(rapid.SampledFrom([]int{0, 0, 0, 1}).Draw(t, "bad")))
		case "remove":
			w.remove(t, partition, id)
		}
	}
}

// play delivers the history in a random way, until the world is at rest.
func (w *world) play(t *rapid.T, atRest func(*world, tb) bool) {
	for round := 0; ; round++ {
		for i := range w.partitions {
			w.partitions[i].step(t, i, round)
		}

		if w.delivered() && atRest(w, t) {
			return
		}

		require.Less(t, round, rounds, "does not come to rest: %v", w.parkedStates(t))
	}
}

func (w *world) delivered() bool {
	for _, s := range w.partitions {
		if s.next < len(s.messages) || int(s.held.Count) < len(s.messages) {
			return false
		}
	}

	return true
}

// step is something that may happen to a partition. Late rounds have no accidents any more, and the source answers.
func (s *site) step(t *rapid.T, number, round int) {
	calm := round > rounds/2
	actions := []string{
		"deliver", "deliver", "deliver", "retry", "see", "crash before", "crash after", "crash amid tries", "late", "edit", "pause", "resume", "resume",
	}

	if calm {
		actions = []string{"all"}

		s.want()
	}

	last := 0
	for _, p := range s.partitions {
		if p.next > 0 {
			last = max(last, int(p.messages[p.next-1].Position.T))
		}
	}

	s.at = rapid.IntRange(last, len(s.states)-1).Draw(t, "source is at")
	s.down = !calm && rapid.Bool().Draw(t, "source is away")
	size := rapid.IntRange(1, 8).Draw(t, "size")

	action := rapid.SampledFrom(actions).Draw(t, "action")

	switch action {
	case "deliver":
		s.deliver(t, size)
	case "retry":
		s.retry(t)
	case "see":
		s.idle(t)
		s.see(t)
	case "crash before":
		s.gather(t, size)
		s.acquire(t, number)
		s.again(t)
	case "crash after":
		s.deliver(t, size)
		s.acquire(t, number)
		s.again(t)
	case "crash amid tries":
		s.retry(t)
		s.acquire(t, number)
	case "late":
		s.late(t, number, size)
	case "pause":
		s.want(pause.Namespace{DB: s.ns.DB, Coll: s.ns.Coll})
	case "resume":
		s.want()
	case "edit": // of what is nobody's: it changes nothing
		_, err := parked.Records(s.client).UpdateMany(s.ctx, bson.D{{Key: "flow", Value: s.options.Flow}, {Key: "state", Value: parked.Superseded}},
			bson.D{{Key: "$set", Value: bson.D{{Key: "error", Value: "edited"}}}})
		require.NoError(t, err)
	default:
		s.deliver(t, size)
		s.idle(t)
		s.see(t)
		s.retry(t)
	}
}

// want has these namespaces paused, and no others; all owners have heard of it.
func (w *world) want(namespaces ...pause.Namespace) {
	wanted := &pause.Document{Namespaces: namespaces}
	if w.owner.pausing.set(wanted) {
		for _, s := range w.partitions {
			s.follow(wanted)
		}
	}
}

// again lets the deliveries start somewhere before the checkpoint.
func (s *site) again(t *rapid.T) {
	s.next = rapid.IntRange(0, s.next).Draw(t, "start")
}

// late lets an owner commit that has lost the partition to another.
func (s *site) late(t *rapid.T, number, size int) {
	batch := s.gather(t, size)
	stale := s.lane

	s.acquire(t, number)

	if len(batch) > 0 {
		require.ErrorIs(t, stale.settleBatch(s.ctx, s.ctx, batch), apply.ErrStale)
	}
}

// atRestWithLetters tells whether nothing waits any more.
func (w *world) atRestWithLetters(t tb) bool { return w.sum(t).Parked == 0 }

// requireHealthy compares the target with the source.
func (w *world) requireHealthy(t tb) {
	t.Helper()

	dead := map[string]bool{}

	for _, r := range w.records(t) {
		require.NotEqual(t, parked.Waiting, r.State)

		if r.State == parked.Dead {
			dead[r.DocumentKey.Lookup("_id").StringValue()] = true
		}
	}

	for k := range 6 {
		id := idOf(k)
		want := w.last()[id]
		refused := want != nil && field(want, "bad") == 1

		require.Equal(t, refused, dead[id], "%s: dead letters exactly where the source's document is refused", id)

		if !refused {
			require.Equal(t, plain(want), w.document(t, id), id)
		} else {
			require.NotEqual(t, plain(want), w.document(t, id), id)
		}
	}
}

func field(doc bson.D, name string) int {
	for _, e := range doc {
		if e.Key == name {
			n, _ := e.Value.(int)

			return n
		}
	}

	return 0
}

// plain is a document of the source as the driver decodes it, without _id.
func plain(doc bson.D) bson.D {
	if doc == nil {
		return nil
	}

	out := bson.D{}
	for _, e := range doc[1:] {
		n, _ := e.Value.(int)
		out = append(out, bson.E{Key: e.Key, Value: int32(n)})
	}

	return out
}

// TestAnyHistoryWithAUniqueIndexEndsEqual is the promise about unique indexes: whatever of the values that documents
// hand on to each other comes in whatever order, all of it ends as the source has it, without a dead letter.
func TestAnyHistoryWithAUniqueIndexEndsEqual(t *testing.T) {
	t.Parallel()

	db := mongotest.DB(t)

	features, err := mongotest.FeaturesOf(t.Context(), db.Client())
	require.NoError(t, err)

	for name, options := range modes(t.Context(), t, db.Client()) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()

			rapid.Check(t, func(rt *rapid.T) {
				w := newWorld(t.Context(), rt, db, 3, options)
				defer w.close()

				w.unique(rt)
				w.handingOn(rt, features.FreesUniqueValues)
				w.play(rt, func(w *world, t tb) bool { return w.sum(t).Parked == 0 })
				w.requireCounted(rt)
				require.Empty(rt, w.parkedStates(rt))

				for k := range 6 {
					require.Equal(rt, plain(w.last()[idOf(k)]), w.document(rt, idOf(k)), idOf(k))
				}

				require.NoError(rt, w.coll().Drop(t.Context()))
			})
		})
	}
}

// handingOn writes a history of documents that take the values of each other. Which partition a document is in is
// random too. Where an update does not free a value, only deletes hand one on, for good.
func (w *world) handingOn(t *rapid.T, updates bool) {
	gone := map[string]bool{}
	partitions := make([]int, 6)
	for k := range partitions {
		partitions[k] = rapid.IntRange(0, len(w.partitions)-1).Draw(t, "partition")
	}

	for n := range rapid.IntRange(1, 40).Draw(t, "events") {
		k := rapid.IntRange(0, 5).Draw(t, "id")
		id, partition := idOf(k), partitions[k]
		u := rapid.SampledFrom(w.free(id)).Draw(t, "u")

		if gone[id] {
			continue
		}

		if w.last()[id] == nil {
			w.put(t, partition, id, v(n), bson.E{Key: "u", Value: u})

			continue
		}

		if !updates {
			u = field(w.last()[id], "u")
		}

		switch rapid.SampledFrom([]string{"set", "set", "v", "put", "remove"}).Draw(t, "operation") {
		case "set":
			w.set(t, partition, id, "u", u)
		case "v":
			w.set(t, partition, id, "v", n)
		case "put":
			w.put(t, partition, id, v(n), bson.E{Key: "u", Value: u})
		case "remove":
			w.remove(t, partition, id)
			gone[id] = !updates
		}
	}
}

// free are the values that no other document has.
func (w *world) free(id string) []int {
	taken := map[int]bool{}

	for other, doc := range w.last() {
		if other != id {
			taken[field(doc, "u")] = true
		}
	}

	var list []int

	for u := 1; u <= 7; u++ {
		if !taken[u] {
			list = append(list, u)
		}
	}

	return list
}

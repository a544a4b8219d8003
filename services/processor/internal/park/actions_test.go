package park_test

import (
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/stretchr/testify/require"
	"go.mongodb.org/mongo-driver/v2/bson"
	"pgregory.net/rapid"

	"github.com/atlas-relay/atlas-relay/pkg/event"
	"github.com/atlas-relay/atlas-relay/pkg/parked"
	"github.com/atlas-relay/atlas-relay/services/processor/internal/park"
)

// retry tries what is due at a partition.
func (w *world) retry(site int) {
	w.now = w.now.Add(time.Duration(rapid.IntRange(1, 10_000).Draw(w.t, "wait")) * time.Millisecond)

	lot, asks := w.owners[site].Next(w.now, rapid.SampledFrom([]int{1, 32}).Draw(w.t, "most"))
	for _, a := range asks {
		w.ask[site] = append(w.ask[site], asked{Ask: a, read: max(slices.Max(w.place), int(a.NotBefore.T))})
	}

	if lot == nil {
		return
	}

	list := make([]change, len(lot.Items))
	for i := range lot.Items {
		list[i] = w.find(int(lot.Items[i].Number))
	}

	w.settle(lot, list, nil)
}

func (w *world) find(number int) change {
	for _, list := range w.events {
		for _, c := range list {
			if c.at == number {
				return c
			}
		}
	}

	panic("no such event")
}

// answer lets the source answer what it was asked, or not.
func (w *world) answer(site int, up bool) {
	asks := w.ask[site]
	w.ask[site] = nil

	for _, a := range asks {
		if !up {
			w.owners[site].Unanswered(a.Key, w.now)

			continue
		}

		at := rapid.IntRange(a.read, len(w.states)-1).Draw(w.t, "source is at")

		lot := w.owners[site].Answered(a.Key, bson.Timestamp{T: uint32(at)}, w.now)
		if lot == nil {
			continue
		}

		var image *document
		if doc, exists := w.states[at][string(a.Key)]; exists {
			image = &doc
		}

		w.settle(lot, nil, image)
	}
}

// look shows an owner the rest of the flow.
func (w *world) look(site int) {
	if w.heads[site] == len(w.events[site]) {
		w.place[site] = len(w.states) - 1 // as a marker does
	}

	v := park.View{Known: w.owners[site].Judges(), Beyond: event.Position{T: ^uint32(0)}}

	for other, place := range w.place {
		if other != site {
			v.Beyond.T = min(v.Beyond.T, uint32(place))
		}
	}

	for _, id := range slices.Sorted(maps.Keys(w.records)) {
		if r := w.records[id]; v.Known && r.State == parked.Waiting && len(v.Earliest) < park.EarliestLimit {
			v.Earliest = append(v.Earliest, r.Position)
		}
	}

	w.owners[site].Observe(v)
}

// operate is what an operator may do to a dead letter.
func (w *world) operate(site int) {
	for _, id := range slices.Sorted(maps.Keys(w.records)) {
		r := w.records[id]
		if r.Partition != site || r.State != parked.Dead {
			continue
		}

		r.Rev++
		r.State, r.Attempts = parked.Waiting, 0

		// The owner sees it some time later; until then its transactions that touch it would fail on the rev.
		w.owners[site].Changed(r, w.now)

		return
	}
}

// age lets go of the events of a partition's dead letters.
func (w *world) age(site int) {
	letters := map[string]event.Key{}
	for id, r := range w.records {
		letters[id] = event.Key(r.Key.Data)
	}

	if lot := w.owners[site].Drop(letters); lot != nil {
		w.settle(lot, nil, nil)
	}
}

func (w *world) play(operators bool) {
	for round := 0; ; round++ {
		for site := range w.owners {
			actions := []string{"batch", "batch", "retry", "answer", "look", "crash", "hold"}
			if operators {
				actions = append(actions, "operate", "age")
			}

			switch rapid.SampledFrom(actions).Draw(w.t, "action") {
			case "batch":
				w.batch(site, rapid.IntRange(1, 8).Draw(w.t, "size"))
			case "retry":
				w.retry(site)
			case "answer":
				w.answer(site, rapid.Bool().Draw(w.t, "up"))
			case "look":
				w.look(site)
			case "operate":
				w.operate(site)
			case "age":
				w.age(site)
			case "hold":
				w.hold(rapid.MapOf(rapid.SampledFrom([]string{"d0", "d1", "d2", "d3", "d4", "d5"}), rapid.Just(true)).Draw(w.t, "held"))
			default:
				w.acquire(site)
			}

			w.check(site)
		}

		if round > 12 {
			break
		}
	}

	w.hold(nil)

	for round := 0; w.restless() || slices.ContainsFunc([]int{0, 1, 2}, func(i int) bool { return w.heads[i] < len(w.events[i]) }); round++ {
		require.Less(w.t, round, 80, "does not come to rest: %v", w.describe())

		for site := range w.owners {
			w.batch(site, 8)
			w.look(site)
			w.now = w.now.Add(time.Minute)
			w.retry(site)
			w.answer(site, true)
			w.check(site)
		}
	}
}

func (w *world) restless() bool {
	for _, r := range w.records {
		if r.State == parked.Waiting {
			return true
		}
	}

	return false
}

// waiting is how many events of a partition (-1: of all) wait uncounted.
func (w *world) waiting(site int) (n int64) {
	for _, r := range w.records {
		if r.State == parked.Waiting && !r.Counted && (site < 0 || r.Partition == site) {
			n += max(r.Events, 1)
		}
	}

	return n
}

// checkRuns makes sure that a run stands for all events of its document in its range, and no other record for one of
// them.
func (w *world) checkRuns(site int) {
	for _, r := range w.records {
		if r.Partition != site || !r.IsRun() || r.State != parked.Waiting && r.State != parked.Dead {
			continue
		}

		events := int64(0)

		for _, c := range w.events[site] {
			if c.key == string(r.Key.Data) && c.at >= int(r.Position.T) && c.at <= int(r.Until.T) {
				events++
			}
		}

		require.Equal(w.t, events, r.Events, w.describe())

		for _, other := range w.records {
			inside := r.Position.Compare(other.Position) <= 0 && other.Position.Compare(r.Until) <= 0
			require.False(w.t, inside && other != r && string(other.Key.Data) == string(r.Key.Data), w.describe())
		}
	}
}

// check holds memory against the records, and the counters against the events.
func (w *world) check(site int) {
	w.checkRuns(site)
	require.Equal(w.t, w.waiting(site), w.owners[site].Waiting())

	heads := int64(0)
	for _, n := range w.heads {
		heads += int64(n)
	}

	require.Equal(w.t, heads, w.processed+w.failed+w.waiting(-1))

	dead := int64(0)

	for _, r := range w.records {
		if r.Partition == site && r.State == parked.Dead {
			dead++
		}
	}

	require.Equal(w.t, dead, w.owners[site].Dead())
}

func (w *world) describe() (list []string) {
	for _, id := range slices.Sorted(maps.Keys(w.records)) {
		r := w.records[id]
		list = append(list, fmt.Sprintf("%s %s %s %s %d run of %d", id, r.Key.Data, r.State, r.Reason, r.Attempts, r.Events))
	}

	return list
}

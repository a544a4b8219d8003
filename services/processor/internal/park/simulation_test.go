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

// document of the simulated source and target: v grows with each change, u is unique, bad is refused.
type document struct {
	v, u int
	bad  bool
}

type documents map[string]document

// change is an event: what it makes of a document.
type change struct {
	key     string
	whole   bool // put or remove
	removes bool
	image   document // of a put
	field   string   // of an update: "u", "v" or "bad"
	value   int
	at      int // its number, from 1, and its time
}

func (c *change) apply(docs documents) (reason parked.Reason, ok bool) {
	before, exists := docs[c.key]

	switch {
	case c.removes:
		delete(docs, c.key)

		return "", true
	case c.whole:
		return docs.put(c.key, c.image)
	case !exists:
		return parked.Unfitting, false
	}

	after := before
	after.v = c.at

	switch c.field {
	case "u":
		after.u = c.value
	case "bad":
		after.bad = c.value == 1
	}

	return docs.put(c.key, after)
}

func (d documents) put(key string, doc document) (parked.Reason, bool) {
	if doc.bad {
		return parked.Failed, false
	}

	for other, held := range d {
		if other != key && held.u == doc.u {
			return parked.Conflict, false
		}
	}

	d[key] = doc

	return "", true
}

// world is a source's history, a target with its records, and the owners' memory of each partition.
type world struct {
	t       *rapid.T
	events  [][]change // of each partition
	states  []documents
	docs    documents // of the target
	records map[string]*parked.Record
	covered map[string]bson.Timestamp
	heads   []int // settled events of each partition
	place   []int // position of each partition
	owners  []*park.Partition
	ask     [][]asked // under way, of each partition
	now     time.Time

	retries           int
	processed, failed int64

	held   map[string]bool // documents that are left alone
	paused int             // events that were parked for that alone
}

// asked is a document that the source was asked for, and the event up to which everything was read then: an image is not
// older than that, but what comes while it is made may be newer than it.
type asked struct {
	park.Ask
	read int
}

const sites = 3

func newWorld(t *rapid.T, retries int) *world {
	w := &world{
		t: t, events: make([][]change, sites), states: []documents{{}}, docs: documents{}, records: map[string]*parked.Record{},
		covered: map[string]bson.Timestamp{}, heads: make([]int, sites), place: make([]int, sites), owners: make([]*park.Partition, sites),
		ask: make([][]asked, sites), now: time.Unix(0, 0), retries: retries,
	}
	for i := range w.owners {
		w.acquire(i)
	}

	return w
}

func (w *world) acquire(site int) {
	w.owners[site] = park.New(park.Policy{
		Retries: w.retries, Delays: []time.Duration{time.Second, 5 * time.Second}, Together: rapid.SampledFrom([]int{1, 3, 100}).Draw(w.t, "together"),
		MaxEvents: rapid.SampledFrom([]int{1, 3, 1000}).Draw(w.t, "kept"), MaxBytes: eventSize * rapid.SampledFrom([]int64{2, 1000}).Draw(w.t, "kept bytes"),
		MaxTotal: 1 << 30,
	})
	w.ask[site] = nil
	w.tell(site)

	for _, id := range slices.Sorted(maps.Keys(w.records)) {
		r := w.records[id]
		if r.Partition == site && (r.State == parked.Waiting || r.State == parked.Dead) {
			require.NoError(w.t, w.owners[site].Load(r, w.now))
		}
	}

	for key, t := range w.covered {
		if siteOf(key) == site {
			w.owners[site].LoadCovered(event.Key(key), t)
		}
	}
}

// hold has all owners leave these documents alone, and no others.
func (w *world) hold(keys map[string]bool) {
	w.held = keys
	for site := range w.owners {
		w.tell(site)
	}
}

func (w *world) tell(site int) {
	if held := w.held; len(held) > 0 {
		w.owners[site].Hold(func(key event.Key) bool { return held[string(key)] }, w.now)
	} else {
		w.owners[site].Hold(nil, w.now)
	}
}

func siteOf(key string) int { return int(key[1]-'0') % sites }

func (w *world) last() documents { return w.states[len(w.states)-1] }

func (w *world) add(c change) {
	c.at = len(w.states)
	state := maps.Clone(w.last())

	switch {
	case c.removes:
		delete(state, c.key)
	case c.whole:
		c.image.v = c.at
		state[c.key] = c.image
	default:
		doc := state[c.key]
		doc.v = c.at

		switch c.field {
		case "u":
			doc.u = c.value
		case "bad":
			doc.bad = c.value == 1
		}

		state[c.key] = doc
	}

	w.states = append(w.states, state)
	w.events[siteOf(c.key)] = append(w.events[siteOf(c.key)], c)
}

const eventSize = 100

// batch settles the next events of a partition.
func (w *world) batch(site, size int) {
	list := w.events[site][w.heads[site]:min(w.heads[site]+size, len(w.events[site]))]
	if len(list) == 0 {
		return
	}

	items := make([]park.Item, len(list))
	for i := range list {
		items[i] = park.Item{
			ID: fmt.Sprintf("%04d", list[i].at), Key: event.Key(list[i].key), Number: int64(list[i].at),
			Position: event.Position{T: uint32(list[i].at)}, Size: eventSize, Whole: list[i].whole,
		}
	}

	lot := w.owners[site].Sort(items)

	for i := range items { // what others of its kind have met may be foreseen, rightly or not
		if rapid.IntRange(0, 9).Draw(w.t, "foreseen") == 0 {
			lot.Foresee(items[i].Number)
		}
	}

	w.settle(lot, list, nil)
	w.heads[site] += len(list)
	w.place[site] = list[len(list)-1].at
}

// settle does with a lot what the driver does: until it commits.
func (w *world) settle(lot *park.Lot, list []change, image *document) {
	for ordered := false; ; {
		for i := range lot.Items {
			if item := &lot.Items[i]; item.Entry != nil && item.Fate == park.Apply && !lot.Image {
				require.True(w.t, w.records[item.ID].IsKept(), "nothing is written that the target has not kept")
				require.False(w.t, w.records[item.ID].Refetch, "the source's document was asked for in its place")
			}
		}

		docs := maps.Clone(w.docs)
		number, reason, left := write(lot, list, docs, image, ordered)

		switch {
		case number == 0:
			w.commit(lot, docs)

			return
		case reason == parked.Conflict && left && !ordered:
			ordered = true
		default:
			require.True(w.t, lot.Refuse(int64(number), park.Refusal{Reason: reason, Text: "refused"}))
		}
	}
}

// write applies a lot to documents; number is the event that is refused.
func write(lot *park.Lot, list []change, docs documents, image *document, ordered bool) (number int, reason parked.Reason, left bool) {
	fx := lot.Effects()
	key := string(lot.Items[0].Key)

	switch {
	case fx.GiveWay:
		delete(docs, key)
	case lot.Image && !lot.Refused() && image == nil:
		delete(docs, key)
	case lot.Image && !lot.Refused():
		if why, ok := docs.put(key, *image); !ok {
			return int(lot.Items[0].Number), why, false
		}
	}

	if lot.Image {
		return 0, "", false
	}

	for i := range list {
		if lot.Items[i].Fate != park.Apply {
			continue
		}

		if !ordered && superseded(lot, list, i) {
			left = true

			continue
		}

		if why, ok := list[i].apply(docs); !ok {
			return list[i].at, why, true
		}
	}

	return 0, "", left
}

func superseded(lot *park.Lot, list []change, i int) bool {
	for j := i + 1; j < len(list); j++ {
		if lot.Items[j].Fate == park.Apply && list[j].whole && list[j].key == list[i].key {
			return true
		}
	}

	return false
}

// commit makes a lot's effects true, and checks them.
func (w *world) commit(lot *park.Lot, docs documents) {
	fx := lot.Effects()

	if !fx.GiveWay && fx.Cover == nil {
		for key, doc := range docs {
			if before, exists := w.docs[key]; exists {
				require.GreaterOrEqual(w.t, doc.v, before.v, "%s went back", key)
			}
		}
	}

	w.checkHeld(&fx, docs)
	w.docs = docs
	w.processed += fx.Processed
	w.failed += fx.Failed

	for i := range fx.Inserts {
		in := &fx.Inserts[i]
		item := &lot.Items[in.Item]
		require.NotContains(w.t, w.records, in.Entry.ID)
		w.records[in.Entry.ID] = &parked.Record{
			ID: in.Entry.ID, Rev: in.Entry.Rev, Partition: siteOf(string(item.Key)), Number: item.Number, Position: item.Position, Size: in.Entry.Size,
			Key: bson.Binary{Data: []byte(item.Key)}, Operation: operation(item.Whole), State: in.Entry.State, Reason: in.Entry.Reason,
			Attempts: in.Entry.Attempts, Counted: in.Entry.Counted, Events: in.Entry.Events, Until: in.Entry.Until,
		}
	}

	for _, e := range fx.Deletes {
		require.Equal(w.t, e.Rev, w.records[e.ID].Rev)
		delete(w.records, e.ID)
	}

	for i := range fx.Updates {
		u := &fx.Updates[i]
		r := w.records[u.Before.ID]
		require.Equal(w.t, u.Before.Rev, r.Rev)
		r.Rev++
		r.State, r.Reason, r.Attempts, r.Counted = u.After.State, u.After.Reason, u.After.Attempts, u.After.Counted
		r.Events, r.Until, r.Refetch = u.After.Events, u.After.Until, u.After.Refetch

		require.False(w.t, r.Refetch && (r.State == parked.Dead || r.State == parked.Replayed), "%s", r.State)

		if u.After.Dropped {
			r.Dropped = time.Unix(1, 0)
		}
	}

	for _, key := range fx.Forget {
		delete(w.covered, string(key))
	}

	if fx.Cover != nil {
		w.covered[string(fx.Cover.Key)] = fx.Cover.Time
	}

	lot.Done(&fx, w.now)
}

// checkHeld makes sure that what is held stays as it is, in its document and in what waits of it.
func (w *world) checkHeld(fx *park.Effects, docs documents) {
	for key := range w.held {
		before, existed := w.docs[key]
		after, exists := docs[key]
		require.Equal(w.t, existed, exists, "%s is held", key)
		require.Equal(w.t, before, after, "%s is held", key)
	}

	for _, e := range fx.Deletes {
		require.False(w.t, w.held[string(w.records[e.ID].Key.Data)], "what waits of a held document stays")
	}

	for i := range fx.Updates {
		u := &fx.Updates[i]
		require.False(w.t, w.held[string(w.records[u.Before.ID].Key.Data)] && u.After.Attempts != u.Before.Attempts, "no try is counted")
	}

	for i := range fx.Inserts {
		if fx.Inserts[i].Entry.Reason == parked.Paused {
			w.paused++
		}
	}
}

func operation(whole bool) event.Operation {
	if whole {
		return event.Replace
	}

	return event.Update
}

package traffic

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	"go.mongodb.org/mongo-driver/v2/bson"
)

// Key names a document on source and target alike: its namespace and the bytes of its _id.
type Key string

// KeyOf makes the key of a document.
func KeyOf(ns string, id bson.RawValue) Key {
	return Key(ns + "\x00" + string(rune(id.Type)) + string(id.Value))
}

// parts is the inverse: the namespace, and the document {_id: …}.
func (k Key) parts() (ns string, id bson.Raw) {
	ns, rest, _ := strings.Cut(string(k), "\x00")
	kind, size := utf8.DecodeRuneInString(rest)

	id, err := bson.Marshal(bson.D{{Key: "_id", Value: bson.RawValue{Type: bson.Type(kind), Value: []byte(rest[size:])}}})
	if err != nil {
		panic(fmt.Sprintf("traffic: marshal an _id: %v", err)) // our own values always can be
	}

	return ns, id
}

// Journal remembers which writes the source has acknowledged and when the target showed them. Its methods may be called
// from any goroutine.
type Journal struct {
	mu        sync.Mutex
	changes   uint64
	open      map[Key][]entry // written, not yet seen on the target; in the order of their versions
	latencies []time.Duration
}

// entry is one write of a document.
type entry struct {
	version int64
	deleted bool
	acked   time.Time // zero until the source has acknowledged it
	seen    time.Time // zero until the target has shown it
	undated bool      // applied at a time that nothing has shown
}

// NewJournal returns an empty journal.
func NewJournal() *Journal {
	return &Journal{open: map[Key][]entry{}}
}

// begin is told changes before they are sent: the target may show them before the acknowledgement is here.
func (j *Journal) begin(changes []change) {
	j.mu.Lock()
	defer j.mu.Unlock()

	for _, c := range changes {
		j.open[c.key] = append(j.open[c.key], entry{version: c.version, deleted: c.deleted})
	}
}

// acked is told their acknowledgement.
func (j *Journal) acked(changes []change, at time.Time) {
	j.mu.Lock()
	defer j.mu.Unlock()

	j.changes += uint64(len(changes))

	for _, c := range changes {
		entries := j.open[c.key]
		for i := range entries {
			if entries[i].version == c.version {
				entries[i].acked = at
			}
		}

		j.settle(c.key, entries)
	}
}

// schemaChanged counts an acknowledged schema change: it is an event, but none of a document.
func (j *Journal) schemaChanged() {
	j.mu.Lock()
	defer j.mu.Unlock()

	j.changes++
}

// Seen is told that the target shows a version of a document, or its deletion. Earlier versions that the target never
// showed were superseded: they are as good as visible now. Not so what a deletion ended that the target never showed: a
// document made and deleted in one batch leaves no trace, and is met when it comes back, perhaps much later.
func (j *Journal) Seen(key Key, version int64, deleted bool, at time.Time) {
	j.mu.Lock()
	defer j.mu.Unlock()

	entries := j.open[key]

	if deleted { // its event has no version: it is the first deletion not yet seen
		at := slices.IndexFunc(entries, func(e entry) bool { return e.deleted && e.seen.IsZero() })
		if at < 0 {
			return
		}

		version = entries[at].version
	}

	for i := range entries {
		if entries[i].version <= version && entries[i].seen.IsZero() {
			entries[i].seen = at
		}

		if entries[i].deleted && entries[i].version < version {
			undate(entries[:i+1])
		}
	}

	j.settle(key, entries)
}

// undate keeps entries out of the latencies.
func undate(entries []entry) {
	for i := range entries {
		entries[i].undated = true
	}
}

// settle moves the entries that are both acknowledged and seen to the latencies.
func (j *Journal) settle(key Key, entries []entry) {
	left := entries[:0]

	for _, e := range entries {
		if e.acked.IsZero() || e.seen.IsZero() {
			left = append(left, e)

			continue
		}

		if !e.undated {
			j.latencies = append(j.latencies, max(0, e.seen.Sub(e.acked)))
		}
	}

	if len(left) == 0 {
		delete(j.open, key)

		return
	}

	j.open[key] = left
}

// Changes is the number of acknowledged changes that modified something.
func (j *Journal) Changes() uint64 {
	j.mu.Lock()
	defer j.mu.Unlock()

	return j.changes
}

// Latency says how long changes took from the source's acknowledgement to a change stream of the target.
type Latency struct {
	Changes       int // that it speaks of
	P50, P99, Max time.Duration
}

// Latency is the distribution so far.
func (j *Journal) Latency() Latency {
	j.mu.Lock()
	latencies := slices.Clone(j.latencies)
	j.mu.Unlock()

	return Distribution(latencies)
}

// Distribution is that of times, which it sorts.
func Distribution(took []time.Duration) Latency {
	if len(took) == 0 {
		return Latency{}
	}

	slices.Sort(took)

	rank := func(share float64) time.Duration { return took[int(share*float64(len(took)-1))] }

	return Latency{Changes: len(took), P50: rank(0.50), P99: rank(0.99), Max: took[len(took)-1]}
}

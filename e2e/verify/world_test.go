package verify_test

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/atlas-relay/atlas-relay/e2e/history"
	"github.com/atlas-relay/atlas-relay/e2e/verify"
)

const (
	flow       = "test"
	shop       = "shop.orders"
	partitions = 2
	lanes      = "acegik" // _ids of partition 0; all others are of partition 1
)

// told is a change event that a test may still change.
type told struct {
	at  time.Time
	doc bson.D
}

// world builds the record of a run: a source, a stream and a target as the relay's design describes them, event by event.
type world struct {
	meta                           history.Meta
	writes                         []history.Write
	source, target                 []told
	stream                         []history.Message
	samples                        []sample
	faults                         []history.Fault
	usage                          []history.Usage
	parked, gaps                   []bson.D
	sourceDocs, targetDocs         map[string]bson.D
	sourceDefined, targetDefined   []history.Definition
	logs                           map[string]string
	without                        []string // files that are left out
	now                            time.Time
	clock                          uint32 // cluster time of the source, in seconds
	versions                       map[string]int64
	lane                           [partitions]built
	event, skipped, generation     uint64
	session                        string
	records                        map[string]bson.D
	transaction, sourceTransaction int64
}

// built is a partition.
type built struct {
	queue []waiting // published, not applied
	count uint64
	place bson.D

	epoch, owner, commits int64
}

// waiting is an event in the stream.
type waiting struct {
	event   told
	id      string
	version int64
	place   bson.D
}

type sample struct {
	at    time.Time
	stats map[string]any
}

func newWorld() *world {
	start := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	w := &world{
		meta:       history.Meta{Flow: flow, Started: start, Partitions: partitions, Namespaces: []string{"shop.*"}, LeaseTTL: time.Second},
		sourceDocs: map[string]bson.D{}, targetDocs: map[string]bson.D{}, versions: map[string]int64{}, records: map[string]bson.D{},
		logs: map[string]string{}, now: start, clock: 1000,
	}

	w.marker()

	for p := range w.lane {
		w.acquire(p)
	}

	return w
}

func (w *world) tick() time.Time {
	w.now = w.now.Add(10 * time.Millisecond)

	return w.now
}

func partitionOf(id string) int {
	if strings.Contains(lanes, id) {
		return 0
	}

	return 1
}

// what a client does to a document of the source.
type what struct {
	op     string
	poison bool
	inTxn  bool // of the transaction that w.sourceTransaction numbers
	hidden bool // the listener leaves it out: its namespace is not included
	parts  int  // messages that it takes; 0 is 1
	result history.Result
}

// do is one change of a document: the client's write, the source's event, the message.
func (w *world) do(id string, a what) {
	w.versions[id]++
	version := w.versions[id]
	begun := w.tick()
	ns := shop

	if a.hidden {
		ns = "other.things"
	}

	doc := bson.D{{Key: "_id", Value: id}, {Key: "v", Value: version}, {Key: "n", Value: fmt.Sprintf("%s%d", id, version)}}
	key := bson.D{{Key: "_id", Value: id}}

	if !a.inTxn {
		w.clock++
	}

	event := bson.D{
		{Key: "_id", Value: bson.D{{Key: "_data", Value: fmt.Sprintf("%d/%s/%d", w.clock, id, version)}}},
		{Key: "operationType", Value: a.op},
		{Key: "clusterTime", Value: bson.Timestamp{T: w.clock, I: 1}},
		{Key: "ns", Value: bson.D{{Key: "db", Value: strings.Split(ns, ".")[0]}, {Key: "coll", Value: strings.Split(ns, ".")[1]}}},
		{Key: "documentKey", Value: key},
	}

	switch a.op {
	case "insert", "replace":
		event = append(event, bson.E{Key: "fullDocument", Value: doc})
	case "update":
		event = append(event, bson.E{Key: "updateDescription", Value: bson.D{{Key: "updatedFields", Value: doc[1:]}, {Key: "removedFields", Value: bson.A{}}}})
	}

	if a.inTxn {
		event = append(event, lsid("client")...)
		event = append(event, bson.E{Key: "txnNumber", Value: w.sourceTransaction})
	}

	e := told{w.tick(), event}
	w.source = append(w.source, e)

	if a.hidden {
		w.event++
		w.skipped++

		return
	}

	if w.sourceDocs[id] = doc; a.op == "delete" {
		delete(w.sourceDocs, id)
	}

	raw, _ := bson.Marshal(key)
	result := a.result

	if result == "" {
		result = history.OK
	}

	w.writes = append(w.writes, history.Write{
		Begun: begun, Time: w.tick(), Namespace: shop, ID: raw, Version: version, Deleted: a.op == "delete", Result: result, Poison: a.poison,
	})
	w.publish(e, id, version, max(a.parts, 1))
}

func lsid(name string) bson.D {
	return bson.D{{Key: "lsid", Value: bson.D{{Key: "id", Value: bson.Binary{Subtype: 4, Data: fmt.Appendf(nil, "%-16s", name)}}}}}
}

// position of an event of the source: its number among those of its cluster time.
func (w *world) position(e told) (t, i, ordinal uint32) {
	stamp, _ := field(e.doc, "clusterTime").(bson.Timestamp)

	for k := len(w.source) - 2; k >= 0 && field(w.source[k].doc, "clusterTime") == stamp; k-- {
		ordinal++
	}

	return stamp.T, stamp.I, ordinal
}

// publish puts an event into the stream.
func (w *world) publish(e told, id string, version int64, parts int) {
	p := partitionOf(id)
	l := &w.lane[p]
	w.event++
	l.count++

	t, i, ordinal := w.position(e)

	for part := 1; part <= parts; part++ {
		header := map[string]string{
			verify.HeaderPosition: fmt.Sprintf("%d.%d.%d", t, i, ordinal),
			verify.HeaderToken:    "before " + fmt.Sprint(field(e.doc, "_id")),
			verify.HeaderCount:    strconv.FormatUint(l.count, 10),
		}
		if part == parts {
			header[verify.HeaderToken] = fmt.Sprint(field(e.doc, "_id"))
		}

		if parts > 1 {
			header[verify.HeaderPart] = fmt.Sprintf("%d/%d", part, parts)
			header[verify.HeaderSize] = strconv.Itoa(100 * parts)
		}

		w.append(fmt.Sprintf("cdc.%s.%02d.%s", flow, p, shop), header)
	}

	l.queue = append(l.queue, waiting{e, id, version, w.place(l.count, t, i, ordinal)})
}

// append stores a message behind the last one.
func (w *world) append(subject string, header map[string]string) {
	sequence := uint64(len(w.stream) + 1)
	header[verify.HeaderID] = fmt.Sprintf("id-%d", sequence)
	header[verify.HeaderStream], header[verify.HeaderWriter] = "S", "1"
	header[verify.HeaderEvent] = strconv.FormatUint(w.event, 10)

	if w.skipped > 0 {
		header[verify.HeaderSkipped] = strconv.FormatUint(w.skipped, 10)
	}

	if w.generation > 0 {
		header[verify.HeaderGeneration] = strconv.FormatUint(w.generation, 10)
	}

	if sequence > 1 {
		header[verify.HeaderExpectedID] = w.stream[sequence-2].Header[verify.HeaderID]
	}

	w.stream = append(w.stream, history.Message{Time: w.tick(), Stored: w.now, Sequence: sequence, Subject: subject, Header: header, Size: 100})
}

func (w *world) marker() {
	t := fmt.Sprintf("%d.0.0", w.clock)
	if w.event == 0 {
		t = "0.0.0"
	}

	w.append("cdc."+flow+".m", map[string]string{verify.HeaderPosition: t, verify.HeaderToken: "marker " + t})
}

// place is what a checkpoint says of the last message.
func (w *world) place(count uint64, t, i, ordinal uint32) bson.D {
	return bson.D{
		{Key: "stream_id", Value: "S"},
		{Key: "generation", Value: int64(w.generation)},
		{Key: "sequence", Value: int64(len(w.stream))},
		{Key: "event", Value: int64(w.event)},
		{Key: "count", Value: int64(count)},
		{Key: "position", Value: bson.D{{Key: "t", Value: int64(t)}, {Key: "i", Value: int64(i)}, {Key: "ordinal", Value: int64(ordinal)}}},
	}
}

// acquire makes a new ownership of a partition.
func (w *world) acquire(p int) {
	l := &w.lane[p]
	l.epoch++
	l.owner += 77

	if l.place == nil {
		l.place = w.place(0, 0, 0, 0)
		w.show("insert", "atlas_relay.checkpoints", checkpointID(p), bson.D{
			{Key: "_id", Value: checkpointID(p)}, {Key: "epoch", Value: l.epoch}, {Key: "owner", Value: l.owner}, {Key: "commits", Value: int64(0)}, {Key: "place", Value: l.place},
		}, false)

		return
	}

	w.show("update", "atlas_relay.checkpoints", checkpointID(p), bson.D{{Key: "epoch", Value: l.epoch}, {Key: "owner", Value: l.owner}}, false)
}

func checkpointID(p int) string { return fmt.Sprintf("%s/%02d", flow, p) }

// show is an event of the target, of the open transaction or of none.
func (w *world) show(op, ns, id string, content bson.D, inTransaction bool) {
	db, coll, _ := strings.Cut(ns, ".")
	event := bson.D{
		{Key: "operationType", Value: op},
		{Key: "clusterTime", Value: bson.Timestamp{T: uint32(5000 + len(w.target)), I: 1}},
		{Key: "ns", Value: bson.D{{Key: "db", Value: db}, {Key: "coll", Value: coll}}},
		{Key: "documentKey", Value: bson.D{{Key: "_id", Value: id}}},
	}

	switch op {
	case "insert", "replace":
		event = append(event, bson.E{Key: "fullDocument", Value: content})
	case "update":
		event = append(event, bson.E{Key: "updateDescription", Value: bson.D{{Key: "updatedFields", Value: content}}})
	}

	if inTransaction {
		event = append(append(event, lsid(w.session)...), bson.E{Key: "txnNumber", Value: w.transaction})
	}

	w.target = append(w.target, told{w.tick(), event})
}

// sample is an answer of the statistics.
func (w *world) sample(status string, pending uint64) {
	total := w.event
	w.samples = append(w.samples, sample{w.tick(), map[string]any{
		"status": "STATUS_" + status, "consistent": true, "addsUp": true, "totalChanges": strconv.FormatUint(total, 10),
		"processedChanges": strconv.FormatUint(total-w.skipped-pending, 10), "failedChanges": "0",
		"skippedChanges": strconv.FormatUint(w.skipped, 10), "pendingChanges": strconv.FormatUint(pending, 10),
	}})
}

// finish ends the run.
func (w *world) finish() {
	w.meta.Ended = w.tick()
	for _, id := range slices.Sorted(maps.Keys(w.records)) {
		w.parked = append(w.parked, w.records[id])
	}
}

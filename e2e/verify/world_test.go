package verify_test

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
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
	stamp := field(e.doc, "clusterTime").(bson.Timestamp)

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
		{Key: "stream_id", Value: "S"}, {Key: "generation", Value: int64(w.generation)}, {Key: "sequence", Value: int64(len(w.stream))},
		{Key: "event", Value: int64(w.event)}, {Key: "count", Value: int64(count)},
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
		{Key: "operationType", Value: op}, {Key: "clusterTime", Value: bson.Timestamp{T: uint32(5000 + len(w.target)), I: 1}},
		{Key: "ns", Value: bson.D{{Key: "db", Value: db}, {Key: "coll", Value: coll}}}, {Key: "documentKey", Value: bson.D{{Key: "_id", Value: id}}},
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

// begin opens a transaction of a partition's owner with its checkpoint.
func (w *world) begin(p int, place bson.D) {
	l := &w.lane[p]
	l.commits++
	l.place = place
	w.transaction++
	w.session = fmt.Sprintf("owner %d", p)

	// Servers tell a nested document as a whole, or field by field.
	set := bson.D{{Key: "commits", Value: l.commits}, {Key: "place", Value: place}}
	if l.commits%2 == 0 {
		set = bson.D{{Key: "commits", Value: l.commits}}
		for _, e := range place {
			set = append(set, bson.E{Key: "place." + e.Key, Value: e.Value})
		}
	}

	w.show("update", "atlas_relay.checkpoints", checkpointID(p), set, true)
}

// apply commits what the first partitions' queue holds, at most n events; 0: all.
func (w *world) apply(p, n int) {
	l := &w.lane[p]
	if n == 0 {
		n = len(l.queue)
	}

	batch := l.queue[:n]
	l.queue = l.queue[n:]
	w.begin(p, batch[n-1].place)

	for k, e := range batch {
		covered := slices.ContainsFunc(batch[k+1:], func(later waiting) bool {
			return later.id == e.id && field(later.event.doc, "operationType") != "update"
		})
		if !covered {
			w.put(e)
		}
	}
}

// put writes an event to the target.
func (w *world) put(e waiting) {
	op := field(e.event.doc, "operationType").(string)
	image := bson.D{{Key: "_id", Value: e.id}, {Key: "v", Value: e.version}, {Key: "n", Value: fmt.Sprintf("%s%d", e.id, e.version)}}

	switch op {
	case "delete":
		if _, there := w.targetDocs[e.id]; there {
			w.show(op, shop, e.id, nil, true)
		}

		delete(w.targetDocs, e.id)

		return
	case "update":
		w.show(op, shop, e.id, image[1:], true)
	default:
		w.show(op, shop, e.id, image, true)
	}

	w.targetDocs[e.id] = image
}

// park commits the head of the queue as a record, and what else there is.
func (w *world) park(p int) (record string) {
	l := &w.lane[p]
	e := l.queue[0]
	l.queue = l.queue[1:]
	w.begin(p, e.place)

	record = fmt.Sprintf("%s/S/%d/%02d/%015d", flow, w.generation, p, field(e.place, "count"))
	doc := bson.D{
		{Key: "_id", Value: record}, {Key: "flow", Value: flow}, {Key: "partition", Value: int64(p)}, {Key: "position", Value: field(e.place, "position")},
		{Key: "db", Value: "shop"}, {Key: "coll", Value: "orders"}, {Key: "document_key", Value: bson.D{{Key: "_id", Value: e.id}}},
		{Key: "state", Value: verify.Waiting}, {Key: "counted", Value: false},
	}
	w.records[record] = doc
	w.show("insert", "atlas_relay.parked", record, doc, true)

	return record
}

// give up a record: it becomes a dead letter.
func (w *world) die(p int, record string) {
	w.begin(p, w.lane[p].place)

	set := bson.D{{Key: "state", Value: verify.Dead}, {Key: "counted", Value: true}}
	w.show("update", "atlas_relay.parked", record, set, true)

	doc := slices.Clone(w.records[record])
	put(&doc, "state", verify.Dead)
	put(&doc, "counted", true)
	w.records[record] = doc
}

// release applies parked events, in one transaction.
func (w *world) release(p int, records []string, events ...waiting) {
	w.begin(p, w.lane[p].place)

	for _, r := range records {
		w.show("delete", "atlas_relay.parked", r, nil, true)
		delete(w.records, r)
	}

	for _, e := range events {
		w.put(e)
	}
}

// refetch replaces a document by what the source has now, of a time before that.
func (w *world) refetch(p int, id string, t uint32, records ...string) {
	w.begin(p, w.lane[p].place)

	for _, r := range records {
		w.show("delete", "atlas_relay.parked", r, nil, true)
		delete(w.records, r)
	}

	image := w.sourceDocs[id]
	w.show("replace", shop, id, image, true)
	w.targetDocs[id] = image

	var key []byte
	for _, name := range strings.Split(shop, ".") {
		key = append(binary.AppendUvarint(key, uint64(len(name))), name...)
	}

	w.show("insert", "atlas_relay.refetched", checkpointID(p)+"/"+id, bson.D{
		{Key: "_id", Value: checkpointID(p) + "/" + id}, {Key: "flow", Value: flow}, {Key: "key", Value: bson.Binary{Data: append(key, id...)}},
		{Key: "document_key", Value: bson.D{{Key: "_id", Value: id}}}, {Key: "t", Value: bson.Timestamp{T: t, I: 1}},
	}, true)
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

// save writes the record and returns its folder.
func (w *world) save(t *testing.T) string {
	t.Helper()

	folder := t.TempDir()
	require.NoError(t, history.WriteMeta(folder, w.meta))
	require.NoError(t, os.Mkdir(filepath.Join(folder, history.LogsDir), 0o700))

	for name, text := range w.logs {
		require.NoError(t, os.WriteFile(filepath.Join(folder, history.LogsDir, name), []byte(text), 0o600))
	}

	file(t, folder, history.WritesFile, w.writes)
	file(t, folder, history.SourceFile, changes(t, w.source))
	file(t, folder, history.TargetFile, changes(t, w.target))
	file(t, folder, history.StreamFile, w.stream)
	file(t, folder, history.FaultsFile, w.faults)
	file(t, folder, history.UsageFile, w.usage)
	file(t, folder, history.SourceDefinitions, w.sourceDefined)
	file(t, folder, history.TargetDefinitions, w.targetDefined)
	file(t, folder, history.SourceDocuments, documents(t, shop, slices.Collect(maps.Values(w.sourceDocs))))
	file(t, folder, history.TargetDocuments, documents(t, shop, slices.Collect(maps.Values(w.targetDocs))))
	file(t, folder, history.ParkedFile, documents(t, "atlas_relay.parked", w.parked))
	file(t, folder, history.GapsFile, documents(t, "atlas_relay.gaps", w.gaps))

	samples := make([]history.Sample, len(w.samples))

	for i, s := range w.samples {
		text, err := json.Marshal(s.stats)
		require.NoError(t, err)

		samples[i] = history.Sample{Time: s.at, Stats: text}
	}

	file(t, folder, history.SamplesFile, samples)

	for _, name := range w.without {
		require.NoError(t, os.Remove(filepath.Join(folder, name)))
	}

	return folder
}

func file[T any](t *testing.T, folder, name string, records []T) {
	t.Helper()

	f, err := history.Create[T](folder, name)
	require.NoError(t, err)

	for _, r := range records {
		require.NoError(t, f.Add(r))
	}

	require.NoError(t, f.Close())
}

func changes(t *testing.T, events []told) []history.Change {
	t.Helper()

	all := make([]history.Change, len(events))

	for i, e := range events {
		raw, err := bson.Marshal(e.doc)
		require.NoError(t, err)

		all[i] = history.Change{Time: e.at, Event: raw}
	}

	return all
}

func documents(t *testing.T, ns string, docs []bson.D) []history.Document {
	t.Helper()

	all := make([]history.Document, len(docs))

	for i, d := range docs {
		raw, err := bson.Marshal(d)
		require.NoError(t, err)

		all[i] = history.Document{Namespace: ns, Document: raw}
	}

	return all
}

// field is a value of a document, by its path; nil where there is none.
func field(doc bson.D, path string) any {
	name, rest, nested := strings.Cut(path, ".")

	for _, e := range doc {
		if e.Key != name {
			continue
		}

		if inner, ok := e.Value.(bson.D); ok && nested {
			return field(inner, rest)
		}

		return e.Value
	}

	return nil
}

// put changes a field of a document; one on its way is copied.
func put(doc *bson.D, path string, value any) {
	name, rest, nested := strings.Cut(path, ".")
	*doc = slices.Clone(*doc)

	for i := range *doc {
		e := &(*doc)[i]
		if e.Key != name {
			continue
		}

		if inner, ok := e.Value.(bson.D); ok && nested {
			put(&inner, rest, value)
			value = inner
		}

		e.Value = value

		return
	}

	*doc = append(*doc, bson.E{Key: name, Value: value})
}

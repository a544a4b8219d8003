package verify_test

import (
	"encoding/binary"
	"fmt"
	"slices"
	"strings"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/atlas-relay/atlas-relay/e2e/verify"
)

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
	op, _ := field(e.event.doc, "operationType").(string)
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
		{Key: "_id", Value: record},
		{Key: "flow", Value: flow},
		{Key: "partition", Value: int64(p)},
		{Key: "position", Value: field(e.place, "position")},
		{Key: "db", Value: "shop"},
		{Key: "coll", Value: "orders"},
		{Key: "document_key", Value: bson.D{{Key: "_id", Value: e.id}}},
		{Key: "state", Value: verify.Waiting},
		{Key: "counted", Value: false},
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

// release applies parked events of partition 1, in one transaction.
func (w *world) release(records []string, events ...waiting) {
	w.begin(1, w.lane[1].place)

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

	if image, there := w.sourceDocs[id]; there {
		w.show("replace", shop, id, image, true)
		w.targetDocs[id] = image
	} else {
		w.show("delete", shop, id, nil, true)
		delete(w.targetDocs, id)
	}

	var key []byte
	for name := range strings.SplitSeq(shop, ".") {
		key = append(binary.AppendUvarint(key, uint64(len(name))), name...)
	}

	w.show("insert", "atlas_relay.refetched", checkpointID(p)+"/"+id, bson.D{
		{Key: "_id", Value: checkpointID(p) + "/" + id},
		{Key: "flow", Value: flow},
		{Key: "key", Value: bson.Binary{Data: append(key, id...)}},
		{Key: "document_key", Value: bson.D{{Key: "_id", Value: id}}},
		{Key: "t", Value: bson.Timestamp{T: t, I: 1}},
	}, true)
}

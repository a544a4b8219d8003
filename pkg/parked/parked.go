// Package parked is what the target remembers of documents that are set aside: their events that wait to be tried
// again, and the dead letters that were given up.
//
// A record is written in the transaction that moves its partition's checkpoint past the event, so an event is either in
// the stream behind the checkpoint, applied, or here. Owners of partitions make, retry and end records; operators ask
// for a change through the statistics service. Whoever changes a record raises its Rev and names the Rev that it read:
// of two who act at the same time one finds that it came too late.
//
//	            ┌──────── replay, refetch ─────────┐
//	            ▼                                  │
//	event ──▶ Waiting ──last retry──▶ Dead ──┬──▶ Discarded    an operator gave it up
//	            │                            ├──▶ Superseded   a later image or delete made it needless
//	            │                            ├──▶ Replayed     it was replayed, and applied
//	            │                            └──▶ Replaced     the source's document took its place
//	            └──applied──▶ the record is deleted
//
// A dead letter marks its document: no later delta is applied onto a document that missed a change. The mark ends with
// the state Dead.
//
// Of a document behind whose head too much waits, later events are not kept: one record stands for a run of them and
// counts them (Events). Only the source's document can take their place.
package parked

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"
	"go.mongodb.org/mongo-driver/v2/mongo/readconcern"
	"go.mongodb.org/mongo-driver/v2/mongo/readpref"

	"github.com/atlas-relay/atlas-relay/pkg/checkpoint"
	"github.com/atlas-relay/atlas-relay/pkg/event"
)

// Names of the collections in checkpoint.Database.
const (
	Collection = "parked"
	// Chunks holds the events that are too large to stand in a record beside their document.
	Chunks = "parked_chunks"
	// Refetched remembers documents that were read from the source again: their events up to that time are covered.
	Refetched = "refetched"
)

// State is what becomes of a record; see the package's diagram.
type State string

// The states.
const (
	Waiting    State = "waiting"    // to be tried: the head of its document, or a follower behind it
	Dead       State = "dead"       // given up after the last retry; its document is marked
	Superseded State = "superseded" // a dead letter whose document has been written whole since
	Discarded  State = "discarded"  // a dead letter that an operator gave up
	Replayed   State = "replayed"   // a dead letter that was applied in the end
	Replaced   State = "refetched"  // a dead letter for which an operator had the source's document taken

	// Intended is a record that is none yet: on a target without transactions it is written before the checkpoint, and
	// becomes one when that has moved. Nobody but its owner sees it.
	Intended State = "intended"
)

// Reason is why an event was parked.
type Reason string

// The reasons.
const (
	Failed    Reason = "failed"    // the target refused the write for a reason of the document itself
	Conflict  Reason = "conflict"  // another document holds a unique value; other partitions may free it
	Unfitting Reason = "unfitting" // the delta does not fit the target's document: the source's is asked for
	Follows   Reason = "follows"   // an earlier event of the same document is parked
	Paused    Reason = "paused"    // a person paused its namespace
)

// Record is one parked event. Numbers are signed because BSON has no other; none is ever negative. Times are of the
// clock of the processor that wrote them, for people: nothing is decided by them, save how long the event of what is dead
// or has ended is kept.
type Record struct {
	ID  string `bson:"_id"` // see ID
	Rev int64  `bson:"rev"` // raised by every change

	Flow       string         `bson:"flow"`
	Partition  int            `bson:"partition"`
	StreamID   string         `bson:"stream_id"`
	Generation int64          `bson:"generation"`
	Count      int64          `bson:"count"`  // running number of the event in its partition: the order of records
	Number     int64          `bson:"number"` // event number of the flow
	Position   event.Position `bson:"position"`

	DB             string          `bson:"db"`
	Coll           string          `bson:"coll"`
	CollectionUUID bson.Binary     `bson:"collection_uuid,omitempty"` // at the source; empty when the event had none
	Operation      event.Operation `bson:"operation"`
	Key            bson.Binary     `bson:"key"`                    // event.Key: equal for events of one document
	DocumentKey    bson.Raw        `bson:"document_key,omitempty"` // as the event has it; absent for a schema change

	// Event is the raw change event; empty when it stands in Chunks, or was not kept.
	Event  bson.Raw `bson:"event,omitempty"`
	Size   int64    `bson:"size"`             // bytes of the raw event; 0 of a run
	Chunks int      `bson:"chunks,omitempty"` // how many documents of the collection Chunks hold it

	// Events is how many events the record stands for, when none of them was kept: a run of consecutive events of its
	// document, of which Count, Number, Position and the others name the first and Until is the last one's position. 0
	// for the record of one event.
	Events int64          `bson:"events,omitempty"`
	Until  event.Position `bson:"until,omitempty"`

	// Dropped is when the event was let go, long after the record died or ended; zero while it is kept.
	Dropped time.Time `bson:"dropped,omitempty"`

	State    State  `bson:"state"`
	Reason   Reason `bson:"reason"`
	Attempts int    `bson:"attempts"` // tries that counted, the first one included
	// Counted says that the event was counted as failed: its class is its first end, whatever comes later.
	Counted bool `bson:"counted"`

	// Refetch says that an operator wants the source's document in place of the event, while the record waits.
	Refetch bool `bson:"refetch,omitempty"`

	Code    int       `bson:"code,omitempty"`  // of the server's last error
	Error   string    `bson:"error,omitempty"` // of the last try; never shows a document's content
	First   time.Time `bson:"first"`           // when it was parked
	Last    time.Time `bson:"last"`            // of the last try
	Changed time.Time `bson:"changed"`         // of the last change of State

	TraceParent string `bson:"trace_parent,omitempty"` // W3C trace context of the event, when it was sampled

	// Trail is what operators did with it, the latest last.
	Trail []Action `bson:"trail,omitempty"`
	// Act is the ID, in the audit, of the last of them: what became of an action's records is counted by it.
	Act string `bson:"act,omitempty"`
}

// Action is one act of an operator.
type Action struct {
	Action string    `bson:"action"` // "replay", "refetch" or "discard"
	Who    string    `bson:"who"`
	Why    string    `bson:"why,omitempty"`
	When   time.Time `bson:"when"` // by the statistics service's clock
}

// IsRun tells whether the record stands for events that were not kept.
func (r *Record) IsRun() bool { return r.Events > 0 }

// IsKept tells whether the record has its event. Only the source's document can take the place of one that it has not.
func (r *Record) IsKept() bool { return !r.IsRun() && r.Dropped.IsZero() }

// Namespace returns where the event happened.
func (r *Record) Namespace() event.Namespace { return event.Namespace{DB: r.DB, Coll: r.Coll} }

// ID returns the _id of a record: ids of one partition sort in the order of its events.
func ID(flow, streamID string, generation int64, partition int, count int64) string {
	return fmt.Sprintf("%s/%s/%d/%02d/%015d", flow, streamID, generation, partition, count)
}

// Records returns the collection of records, read and written with majority.
func Records(target *mongo.Client) *mongo.Collection { return majority(target).Collection(Collection) }

func majority(target *mongo.Client) *mongo.Database {
	return target.Database(checkpoint.Database, options.Database().
		SetReadConcern(readconcern.Majority()).
		SetReadPreference(readpref.Primary()))
}

// hash stands for a key where it has to be short.
func hash(key event.Key) string {
	sum := sha256.Sum256([]byte(key))

	return hex.EncodeToString(sum[:16])
}

// Package history is the record of one run of the relay: what the clients wrote, what source and target showed, what the
// stream held, what the statistics said, and what was broken meanwhile. A run leaves a folder of files; e2e/verify judges
// it and needs nothing else.
//
//	meta.json                  one Meta: which flow, and what may be expected of it
//	writes.jsonl               one Write for each document that a client wrote to the source, in the order of the answers
//	source.jsonl               one Change for each event of the source's change stream, in its order
//	target.jsonl               the same of the target, with everything in atlas_relay.*: the history of the checkpoints
//	stream.jsonl               one Message for each message of the flow's stream, in the order in which it was stored
//	samples.jsonl              one Sample for each question to the statistics
//	faults.jsonl               one Fault for each thing that was broken
//	usage.jsonl                one Usage for each look at a process
//	source-documents.jsonl     one Document for each document of the source at the end
//	target-documents.jsonl     the same of the target, without atlas_relay.*
//	source-definitions.jsonl   one Definition for each collection, view and index of the source at the end
//	target-definitions.jsonl   the same of the target
//	parked.jsonl               one Document for each record of atlas_relay.parked at the end, dead letters among them
//	gaps.jsonl                 one Document for each record of atlas_relay.gaps at the end
//	logs/*.log                 what the services wrote
//
// A .jsonl file has one JSON object a line. BSON stands in it as base64 of its bytes, untouched: what is compared byte for
// byte must not pass through another form. Recording begins before flow init, on databases without documents, and ends
// when nothing is pending; all times are of the clock of the process that records. The flow has FULL_DOCUMENT=delta: what
// an image of a later time contains is not in the record.
//
// e2e/history/record writes these files from live servers. The file of a kind may be left out where a run has nothing to
// put into it, except meta, writes, source, target, stream and both files of documents.
package history

import (
	"encoding/json"
	"fmt"
	"time"
)

// The files of a folder.
const (
	MetaFile          = "meta.json"
	WritesFile        = "writes.jsonl"
	SourceFile        = "source.jsonl"
	TargetFile        = "target.jsonl"
	StreamFile        = "stream.jsonl"
	SamplesFile       = "samples.jsonl"
	FaultsFile        = "faults.jsonl"
	UsageFile         = "usage.jsonl"
	SourceDocuments   = "source-documents.jsonl"
	TargetDocuments   = "target-documents.jsonl"
	SourceDefinitions = "source-definitions.jsonl"
	TargetDefinitions = "target-definitions.jsonl"
	ParkedFile        = "parked.jsonl"
	GapsFile          = "gaps.jsonl"
	LogsDir           = "logs"
)

// SentinelDatabase is where recorders write, on both sides, to see the end of what they record. It belongs to nobody's
// data: a checker leaves it out, and a flow should not include it.
const SentinelDatabase = "relay_history"

// Meta says which run it was, and what may be expected of it.
type Meta struct {
	Flow    string    `json:"flow"`
	Seed    string    `json:"seed,omitempty"`    // how to have the same run again, for people
	Started time.Time `json:"started,omitzero"`  // of the recording
	Ended   time.Time `json:"ended,omitzero"`    // nothing was pending any more
	Publish string    `json:"publish,omitempty"` // "chain" or "batch", as in the stream's metadata; empty is "chain"

	// Partitions of the stream, as its metadata has them.
	Partitions int `json:"partitions"`

	// Namespaces are what the flow replicates, as INCLUDE_NAMESPACES has them: "db.coll" or "db.*". Empty: everything.
	Namespaces []string `json:"namespaces,omitempty"`
	// Schema says that the flow replicates schema changes (DDL=on): then the definitions of both sides are compared too.
	Schema bool `json:"schema,omitempty"`
	// TwoWay says that clients write to the target as well, other documents than those of this flow.
	TwoWay bool `json:"two_way,omitempty"`
	// AtLeastOnce says that the target has no transactions: nothing is promised of the order and number of its writes.
	AtLeastOnce bool `json:"at_least_once,omitempty"`
	// TargetBack says that the target was restored from a backup, checkpoints and all: each history of it has a file of its
	// own (TargetFileOf), and no file tells how one became the next.
	TargetBack bool `json:"target_back,omitempty"`

	// Refused are namespaces whose documents the target refuses for a while, whatever they are: any of them may have become a
	// dead letter by the end.
	Refused []string `json:"refused,omitempty"`

	// LeaseTTL is LEASE_TTL of the services, in nanoseconds.
	LeaseTTL time.Duration `json:"lease_ttl,omitempty"`
	// Canaries are secrets that were given to the services and may be in no log.
	Canaries []string `json:"canaries,omitempty"`
	// Versions of what ran, by name, for people.
	Versions map[string]string `json:"versions,omitempty"`
}

// TargetFileOf is the record of the target's n-th history; the first is TargetFile.
func TargetFileOf(n int) string {
	if n <= 1 {
		return TargetFile
	}

	return fmt.Sprintf("target-%d.jsonl", n)
}

// Result is how a write ended for its client.
type Result string

// The results. A write whose answer never came is unknown: it may have happened or not.
const (
	OK      Result = "ok"
	Fail    Result = "fail"
	Unknown Result = "unknown"
)

// Write is one change of one document that a client asked the source for. A call that changes several documents leaves
// one Write for each.
type Write struct {
	Begun time.Time `json:"begun"` // before it was sent
	Time  time.Time `json:"time"`  // of the answer, or when the client gave up

	Namespace string `json:"ns"`
	ID        []byte `json:"id"` // BSON: the document {_id: …}
	// Version is the v that the document has after the write. Each write raises it, a deletion and an insertion after it
	// too, so it stands for the write.
	Version int64 `json:"v"`
	Deleted bool  `json:"deleted,omitempty"` // the document is gone after the write

	// Transaction is equal in writes that one client made in one transaction, and in no others; empty outside.
	Transaction string `json:"transaction,omitempty"`
	Result      Result `json:"result"`
	Error       string `json:"error,omitempty"` // why it failed, or why its result is unknown

	// Poison says that the target is meant to refuse the write for a reason of the document.
	Poison bool `json:"poison,omitempty"`
}

// Change is one event of the change stream of a whole deployment, opened with showExpandedEvents.
type Change struct {
	Time  time.Time `json:"time"`  // when it was read
	Event []byte    `json:"event"` // BSON, as the server sent it; a fragment where the server has split it
}

// Message is one message of the flow's stream, without its payload. Where a server lost the end of its stream, the
// messages that took its place follow with sequences that were there before.
type Message struct {
	Time     time.Time         `json:"time"`   // when it was read
	Stored   time.Time         `json:"stored"` // by the server's clock
	Sequence uint64            `json:"seq"`
	Subject  string            `json:"subject"`
	Header   map[string]string `json:"header"` // without Nats-Msg-Size
	Size     int               `json:"size"`   // bytes of the payload
}

// Sample is one answer of the statistics.
type Sample struct {
	Time time.Time `json:"time"` // of the answer
	// Stats is relay.v1.Stats as protojson writes it; absent when there was no answer.
	Stats json.RawMessage `json:"stats,omitempty"`
	Error string          `json:"error,omitempty"` // why there was none
}

// Fault is one thing that was broken, from its beginning until it was whole again.
type Fault struct {
	Class  string    `json:"class"`            // "kill", "freeze", "cut", …
	Victim string    `json:"victim,omitempty"` // the service, server or link
	Detail string    `json:"detail,omitempty"`
	From   time.Time `json:"from"`
	To     time.Time `json:"to"` // whole again: started, thawed, healed
	// Hits is how often it really happened: 1 for a process that was killed while it ran, the passes of a failpoint, the
	// connections that a proxy cut. 0 is a fault that was scheduled and missed.
	Hits int `json:"hits"`
	// Quiet says that nobody was meant to write during the fault.
	Quiet bool `json:"quiet,omitempty"`
	// LosesTail says that the fault takes messages from the end of the stream, which the listener then publishes anew.
	LosesTail bool `json:"loses_tail,omitempty"`
}

// The phases of a run, for Usage.
const (
	Baseline = "baseline" // the relay has started, has replicated something, and is idle
	Load     = "load"
	End      = "end" // everything is applied, and some time has passed
)

// Usage is what a process had in use. A number that is not known is 0.
type Usage struct {
	Time       time.Time `json:"time"`
	Service    string    `json:"service"`
	PID        int       `json:"pid"`
	Phase      string    `json:"phase"`
	Memory     int64     `json:"memory,omitempty"` // bytes of the heap in use, or resident ones: of one run always the same
	Goroutines int       `json:"goroutines,omitempty"`
	Files      int       `json:"files,omitempty"` // open file descriptors
}

// Document is one document as it stands in a collection.
type Document struct {
	Namespace string `json:"ns"`
	Document  []byte `json:"document"` // BSON
}

// Definition is what a server says of a collection, a view or an index.
type Definition struct {
	Namespace string `json:"ns"`
	Index     string `json:"index,omitempty"` // its name; empty for a collection or a view
	// Definition is BSON: an element of the answer to listCollections or listIndexes.
	Definition []byte `json:"definition"`
}

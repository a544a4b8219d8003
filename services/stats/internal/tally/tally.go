// Package tally counts: what was read of a flow in, its statistics and the
// answer to "is it fine?" out. It does no I/O and looks at no clock.
//
// The unit is one event of the source. Counters come from the stream's headers
// and from the checkpoints, so they are exact across crashes; gauges come from
// the instances' reports and vanish with them. What was not read is absent in
// the result and named in Unknown, never a number of earlier.
//
//	total     = event number of the stream's tail
//	skipped   = skipped number of the tail + those that the checkpoints skipped
//	pending   = sum over partitions of head - count of the checkpoint, and of
//	            what the checkpoint says is parked: counted, but not settled
//
// So total = processed + failed + skipped + pending is a test, not a definition.
package tally

import (
	"time"

	"github.com/atlas-relay/atlas-relay/pkg/checkpoint"
	"github.com/atlas-relay/atlas-relay/pkg/event"
	"github.com/atlas-relay/atlas-relay/pkg/gap"
	"github.com/atlas-relay/atlas-relay/pkg/pause"
)

// Status is the answer to "is it fine?".
type Status string

// The answers, from best to worst. Unknown is worse than Diverged because what
// cannot be asked may be anything; Down is a fact whatever else is unknown.
const (
	OK       Status = "OK"
	Degraded Status = "DEGRADED"
	Diverged Status = "DIVERGED"
	Unknown  Status = "UNKNOWN"
	Down     Status = "DOWN"
)

// Statuses lists all of them, from best to worst.
func Statuses() []Status { return []Status{OK, Degraded, Diverged, Unknown, Down} }

// Input is what was read of a flow.
type Input struct {
	Flow string
	Now  time.Time

	Stream  *Stream // nil: not read, Problem or Unknown says why
	Problem *Problem

	Checkpoints map[int]checkpoint.Document // by partition; nil: not read
	Unsupported []checkpoint.UnsupportedDocument
	Gaps        []gap.Document
	Parked      *Parked        // nil: not read
	Paused      pause.Document // zero: nobody has paused anything, or not read

	PauseDamaged *pause.DamagedError // nil: the target says what is paused, or was not read

	Reports *Reports // nil: not read

	// Still says that neither the stream nor the checkpoints moved while they
	// were read.
	Still bool
	// Unknown says what could not be asked and why, one sentence each.
	Unknown []string

	// What follows of these, worked out once for each sample by Count.
	foreign *checkpoint.Document // one of another stream; nil: there is none
	lost    uint64               // see lostTail
}

// Parked is what the target says of events that were set aside. How many wait
// is said by the checkpoints, which agree with the counters.
type Parked struct {
	Dead          uint64    // dead letters, or the least number of them
	More          bool      // they were not counted to the end
	OldestDead    *SetAside // nil when there is none
	OldestWaiting *SetAside
}

// SetAside is an event that was set aside, and why.
type SetAside struct {
	Namespace event.Namespace
	Code      int // of the target's error; 0 when there was none
	Error     string
}

// Problem is a stream that answers but cannot be used.
type Problem struct {
	Reason   string
	NextStep string
}

// Stream is what JetStream says of the flow's stream.
type Stream struct {
	Name          string
	ID            string
	FirstSequence uint64
	LastSequence  uint64
	Messages      uint64
	Bytes         uint64
	MaxBytes      uint64 // 0 when unlimited

	// Of the tail.
	Generation uint64
	Position   event.Position
	Total      uint64
	Skipped    uint64

	Heads []Head // by partition
}

// Head is the end of a partition.
type Head struct {
	// Count of the last event published. One whose last part is missing counts:
	// it is part of the tail's total already.
	Count uint64
	// Oldest is the first message behind the checkpoint; nil when there is none
	// or it was not read.
	Oldest *Waiting
}

// Waiting is a message that is not applied.
type Waiting struct {
	Position event.Position
	Stored   time.Time // by the NATS server's clock
}

// Reports are what the instances said lately.
type Reports struct {
	Listeners  []Listener
	Processors []Processor
	Departed   []Departed // that said something within the last hour, but not lately
}

// Instance is a running process.
type Instance struct {
	ID      string
	Host    string
	PID     int64
	Version string
	Start   time.Time     // by its own clock
	Silent  time.Duration // since its last report arrived

	LeaseTTL time.Duration // within which it promises to be heard; 0: it does not say
	OpsAddr  string        // which no other process of its host has; empty: it does not say

	Succeeded bool // another process of its kind stands for it; filled by Count
}

// Listener is a listener's report.
type Listener struct {
	Instance
	State          string // such as "STREAMING"
	Reason         string
	ReportTime     time.Time // by its own clock
	Arrived        time.Time // by ours
	Position       event.Position
	Total          uint64
	Skipped        uint64
	CaptureLag     *time.Duration
	WindowMessages uint64
	WindowBytes    uint64
	Recoveries     uint64
	Term           uint64 // of the lease by which it is active; 0 while it is not
	History        History
}

// History is for how long the source keeps what the stream does not have, as
// the listener reports it.
type History struct {
	Remaining *time.Duration // nil: unknown
	Window    *time.Duration // nil: unknown
	Unknown   string         // why; empty when it is known, or when the listener does not say
	Trend     string         // such as "STILL"
	Level     string         // such as "WARN"

	Warn, Critical *time.Duration // the thresholds of the levels; nil: the listener does not say
}

// Processor is a processor's report.
type Processor struct {
	Instance
	Reason     string    // why it is not ready; empty when it is
	ReportTime time.Time // by its own clock
	Arrived    time.Time // by ours
	Partitions []Ownership
	// AtLeastOnce says that its target has no transactions.
	AtLeastOnce bool
}

// Ownership is a partition as its owner sees it.
type Ownership struct {
	Partition        int
	State            string
	Reason           string
	Since            time.Time // of the state, by our clock; zero when unknown
	Epoch            uint64
	PendingBatchSize uint64
	IsProcessing     bool
	Held             bool // PAUSED because a person paused the flow
}

// Stats is a sample of one flow. A nil number is unknown.
type Stats struct {
	Flow string
	Time time.Time

	Status   Status
	Reasons  []string
	NextStep string
	Unknown  []string
	Notes    []string // worth knowing; nothing has to be done about it

	Total            *uint64
	Processed        *uint64
	Failed           *uint64
	Skipped          *uint64
	Pending          *uint64
	Batches          *uint64
	PendingBatchSize *uint64
	IsProcessing     *bool
	Parked           *uint64 // part of Pending
	DeadLetters      *uint64
	Gaps             *uint64 // that were accepted, ever

	Pause            *pause.Pause // nil: nobody has paused the flow, or that is not known
	PausedNamespaces []pause.Namespace
	PauseKnown       bool // whether the two above say all

	Consistent bool
	AddsUp     *bool // nil unless Consistent and all terms are known

	CaptureLag *time.Duration
	Lag        *time.Duration

	History     History // of the active listener
	AtLeastOnce bool    // a processor says that the target has no transactions

	Stream      *Stream
	Listeners   []Listener
	Processors  []Processor
	Departed    []Departed
	Partitions  []Partition
	Unsupported []checkpoint.UnsupportedDocument

	Heard bool // whether the reports were read: without them there are no instances, which says nothing
}

// Partition is one partition: its checkpoint, joined with its owner's report.
type Partition struct {
	Number int
	Owner  string // instance id; empty when no owner reports
	Owned  *bool  // whether an owner reports; nil: the reports were not read
	Ownership
	Next *Ownership // of the processor that is about to own it; nil when there is none

	Checkpoint checkpoint.Document // zero before the first commit
	Pending    *uint64             // those parked included
	Lag        *time.Duration
}

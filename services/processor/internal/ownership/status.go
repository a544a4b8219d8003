package ownership

import (
	"sync"
	"time"

	"github.com/atlas-relay/atlas-relay/pkg/checkpoint"
	"github.com/atlas-relay/atlas-relay/pkg/event"
)

// State is what the owner is doing with a partition; see the package's diagram.
type State string

// The states of a partition.
const (
	Acquiring State = "ACQUIRING"
	Applying  State = "APPLYING"
	Paused    State = "PAUSED"
	Failed    State = "FAILED"
	Draining  State = "DRAINING"
	// WaitingRewind is an owner that met a hole: it applies nothing until the
	// listener has rewound the stream.
	WaitingRewind State = "WAITING_REWIND"
)

// States lists all of them.
func States() []State {
	return []State{Acquiring, Applying, Paused, WaitingRewind, Failed, Draining}
}

// Status is a partition at one moment.
type Status struct {
	Partition  int
	State      State
	Reason     string // why, with the remedy where there is one; empty when APPLYING
	Held       bool   // PAUSED because a person paused the flow, and for no other reason
	Since      time.Time
	Checkpoint checkpoint.Document // zero before the partition was acquired
	Batch      int                 // events in the open batch and in the one in flight
	Processing bool                // a batch is being applied
	Dead       int64               // dead letters; how many events wait is in the checkpoint
	Hole       *uint64             // generation of the stream in which events are missing; nil when none are
	Oldest     event.Position      // of the first event that was read and is not applied; zero when there is none
}

// board holds a Status. The partition's goroutine writes, reports and metrics
// read.
type board struct {
	mu     sync.Mutex
	status Status
}

func (b *board) read() Status {
	b.mu.Lock()
	defer b.mu.Unlock()

	return b.status
}

func (b *board) update(change func(*Status)) {
	b.mu.Lock()
	defer b.mu.Unlock()

	change(&b.status)
}

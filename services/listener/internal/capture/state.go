package capture

import (
	"sync"
	"time"

	"github.com/atlas-relay/atlas-relay/pkg/event"
)

// State is what the listener is doing.
//
//	STARTING ──▶ STREAMING ◀──▶ WAITING   NATS, the lease's bucket or room in the
//	                 ▲  ▲                 stream is missing
//	                 │  └─────▶ STALLED   the source is missing
//	                 └────────▶ STANDBY   another listener is active; this one could
//	                                      be: it sees the stream and the source
//
//	any ──▶ FAILED, HISTORY_LOST          an operator decides
type State string

// The states; see the diagram.
const (
	Starting    State = "STARTING"
	Standby     State = "STANDBY"
	Streaming   State = "STREAMING"
	Waiting     State = "WAITING"
	Stalled     State = "STALLED"
	HistoryLost State = "HISTORY_LOST"
	Failed      State = "FAILED"
)

// States lists all of them.
func States() []State {
	return []State{Starting, Standby, Streaming, Waiting, Stalled, HistoryLost, Failed}
}

// Status is what the listener says about itself at one moment.
type Status struct {
	State  State
	Reason string // why, with the remedy where there is one; empty when STREAMING
	Since  time.Time

	// Term orders active listeners in time: the revision of the lease by which this
	// one is, 0 while it is not.
	Term uint64

	Position event.Position // of the last event read
	Total    uint64         // events counted so far
	Skipped  uint64         // of them filtered

	// CaughtUpAt is a time up to which everything the source had was read.
	// Zero until the first event or empty batch.
	CaughtUpAt time.Time
	CaughtUp   bool // the last read found nothing new

	// SourceChecked: the source is the one that the stream was made from.
	SourceChecked bool

	WindowMessages uint64 // published and not yet proven stored
	WindowBytes    int
	Recoveries     uint64 // sessions that ended with an error
}

// Lag returns how far reading is behind the source's clock; ok is false while
// that is unknown, and for a standby, which reads nothing.
func (s *Status) Lag(now time.Time) (lag time.Duration, ok bool) {
	switch {
	case s.CaughtUpAt.IsZero(), s.State == Standby:
		return 0, false
	case s.State == Streaming && s.CaughtUp:
		return 0, true
	default:
		return max(now.Sub(s.CaughtUpAt), 0), true
	}
}

// board holds the Status. The session writes, reports and metrics read.
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

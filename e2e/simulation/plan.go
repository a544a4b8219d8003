package simulation

import (
	"cmp"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"
)

// Kind is what a fault does.
type Kind int

// The kinds. Each names what it hits: A is a process, B an amount.
const (
	KillListener Kind = iota
	KillProcessor
	FreezeListener
	FreezeProcessor
	CutListener // off NATS
	CutProcessor
	StallListener // the active one, amid its work, until another one leads
	HoldListener  // what the active one sends is on its way until another one leads
	ClockWrong
	NATSRestarts // without its last B messages
	NATSLosesAnswers
	BlockLost
	StreamFull
	StreamReplaced
	TargetAway
	TargetShaky // conflicts, and answers that get lost
	TargetSteps // down: open transactions end
	TargetBack  // restored as it was some seconds ago
	SourceAway
	HistoryLost
	ProcessorJoins
	ProcessorLeaves
	kinds
)

// String implements fmt.Stringer.
func (k Kind) String() string {
	return [...]string{
		"kill listener", "kill processor", "freeze listener", "freeze processor", "cut listener off", "cut processor off",
		"stall listener", "hold listener's messages", "clock wrong", "NATS restarts", "NATS loses answers", "block lost",
		"stream full", "stream replaced", "target away", "target shaky", "target steps down", "target back", "source away",
		"history lost", "processor joins", "processor leaves",
	}[k]
}

// Fault is one of a run.
type Fault struct {
	Kind Kind
	At   time.Duration // since the beginning
	For  time.Duration
	A, B int
}

// String implements fmt.Stringer.
func (f Fault) String() string {
	return fmt.Sprintf("%s %s for %s (%d, %d)", f.At.Round(time.Millisecond), f.Kind, f.For.Round(time.Millisecond), f.A, f.B)
}

// Plan is a run: all that is decided before it begins.
type Plan struct {
	Seed       uint64
	Partitions int
	Processors int
	Listeners  int
	Changes    int
	Batch      int // of the stream's publish mode: atomic batches where it is 1
	Poison     bool
	Unique     bool
	Lasts      time.Duration   // the part with changes and faults
	Bursts     []time.Duration // when most of the changes come; empty: at any time
	Faults     []Fault
}

const (
	leaseTTL = 5 * time.Second
	burst    = 300 * time.Millisecond // how long the changes of one take
	overlap  = 120 * time.Millisecond // how late at most an overtaken listener goes on
)

// NewPlan returns the plan of a seed.
func NewPlan(seed uint64) *Plan {
	r := rand.New(rand.NewPCG(seed, 1))

	p := &Plan{
		Seed: seed, Partitions: 1 + r.IntN(3), Processors: 1 + r.IntN(3), Listeners: 1 + r.IntN(2), Changes: 20 + r.IntN(40),
		Batch: r.IntN(3) / 2, Lasts: 25 * time.Second,
	}

	// Not both: what the target refuses leaves a document with a value that others want.
	switch r.IntN(3) {
	case 0:
		p.Poison = true
	case 1:
		p.Unique = true
	}

	for range r.IntN(9) {
		p.Faults = append(p.Faults, newFault(r, p.Lasts))
	}

	if r.IntN(4) == 0 {
		f := newFault(r, p.Lasts)
		f.overtake(r)
		p.Faults = append(p.Faults, f)
	}

	p.crowd(r)
	slices.SortStableFunc(p.Faults, func(a, b Fault) int { return cmp.Compare(a.At, b.At) })

	return p
}

// when is the time of a change.
func (p *Plan) when(r *rand.Rand) time.Duration {
	if len(p.Bursts) > 0 && r.IntN(4) > 0 {
		return p.Bursts[r.IntN(len(p.Bursts))] + time.Duration(r.Int64N(int64(burst)))
	}

	return time.Duration(r.Int64N(int64(p.Lasts)))
}

// crowd has two listeners publish at once where one is overtaken: there is another one, and
// changes come when the first is about to go, and while nobody leads.
func (p *Plan) crowd(r *rand.Rand) {
	for i := range p.Faults {
		f := &p.Faults[i]
		if !f.overtakes() {
			continue
		}

		p.Listeners = 2
		p.Bursts = append(p.Bursts, max(0, f.At-burst/2), f.At+time.Duration(r.Int64N(int64(leaseTTL))))
	}
}

// overtakes tells whether another listener takes over from one that goes on.
func (f *Fault) overtakes() bool { return f.Kind == StallListener || f.Kind == HoldListener }

// overtake makes the fault one of those. It lasts from when the other one leads: mostly
// until that reads the tail, or publishes.
func (f *Fault) overtake(r *rand.Rand) {
	f.Kind = StallListener + Kind(r.IntN(2))
	f.For = time.Duration(r.Int64N(int64(overlap)))
	f.A, f.B = r.IntN(places), 1+r.IntN(30)
}

func newFault(r *rand.Rand, lasts time.Duration) Fault {
	f := Fault{Kind: Kind(r.IntN(int(kinds))), At: time.Duration(r.Int64N(int64(lasts))), A: r.IntN(4), B: r.IntN(12)}
	// Short ones end before a lease does, long ones after it.
	f.For = time.Duration(float64(leaseTTL) * (0.02 + 1.5*r.Float64()*r.Float64()))

	switch f.Kind {
	case StreamReplaced, HistoryLost: // the end of a flow: seldom
		if r.IntN(6) > 0 {
			f.Kind = KillListener
		}
	case FreezeListener, FreezeProcessor:
		f.For *= 2
	case StallListener, HoldListener:
		f.overtake(r)
	default:
	}

	return f
}

package ops

import (
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// Health holds what the parts of a process say about themselves. The zero value has no parts and is ready.
type Health struct {
	stopping atomic.Bool

	mu     sync.Mutex
	parts  []*Part
	pulses []*Pulse
}

// Reason is why a process is not ready, or not alive.
type Reason struct {
	Part   string `json:"part"`
	Reason string `json:"reason"`
}

// Part is one thing that must hold for the process to do its job now: the stream is open, NATS is connected.
type Part struct {
	name   string
	reason atomic.Pointer[string] // nil when ready; written by the part's owner, read by the server
	note   atomic.Pointer[string] // nil when there is none; the same
}

// Part adds a part that is not ready ("starting") until its owner says so.
func (h *Health) Part(name string) *Part {
	h.mu.Lock()
	defer h.mu.Unlock()

	p := &Part{name: name}
	p.NotReady("starting")
	h.parts = append(h.parts, p)

	return p
}

// Ready says that the part can do its job.
func (p *Part) Ready() { p.ready(nil) }

// ReadyThough says that the part can do its job, and what a person should know beside that: it stands by. It is shown to
// everybody who may ask /readyz.
func (p *Part) ReadyThough(note string) { p.ready(&note) }

func (p *Part) ready(note *string) {
	p.note.Store(note)
	p.reason.Store(nil)
}

// NotReady says why it cannot. The reason is shown to everybody who may ask /readyz: no secrets.
func (p *Part) NotReady(reason string) { p.reason.Store(&reason) }

// Stopping turns readiness off for good: the first step of a shutdown, so that nobody sends new work.
func (h *Health) Stopping() { h.stopping.Store(true) }

// NotReady lists why the process cannot do its job now; empty when it can.
func (h *Health) NotReady() []Reason {
	h.mu.Lock()
	defer h.mu.Unlock()

	var reasons []Reason
	if h.stopping.Load() {
		reasons = append(reasons, Reason{Part: "process", Reason: "shutting down"})
	}

	for _, p := range h.parts {
		if reason := p.reason.Load(); reason != nil {
			reasons = append(reasons, Reason{Part: p.name, Reason: *reason})
		}
	}

	slices.SortStableFunc(reasons, func(a, b Reason) int { return strings.Compare(a.Part, b.Part) })

	return reasons
}

// Notes lists what parts that are ready say beside that.
func (h *Health) Notes() []Reason {
	h.mu.Lock()
	defer h.mu.Unlock()

	var notes []Reason

	for _, p := range h.parts {
		if note := p.note.Load(); note != nil && p.reason.Load() == nil {
			notes = append(notes, Reason{Part: p.name, Reason: *note})
		}
	}

	return notes
}

// Pulse is a loop that must turn for the process to be alive. Waiting for a server that is away is turning.
type Pulse struct {
	name   string
	within time.Duration
	last   atomic.Pointer[time.Time] // of the last beat; monotonic
}

// Pulse adds a loop that must Beat at least every within, beginning now. A process whose pulse is late answers 503 on
// /livez and is restarted by whoever watches it, so choose within far above the longest turn.
func (h *Health) Pulse(name string, within time.Duration) *Pulse {
	h.mu.Lock()
	defer h.mu.Unlock()

	p := &Pulse{name: name, within: within}
	p.Beat()
	h.pulses = append(h.pulses, p)

	return p
}

// Beat says that the loop has turned.
func (p *Pulse) Beat() {
	now := time.Now()
	p.last.Store(&now)
}

// NotAlive lists the loops that stand still.
func (h *Health) NotAlive() []Reason {
	h.mu.Lock()
	defer h.mu.Unlock()

	var reasons []Reason

	for _, p := range h.pulses {
		if late := time.Since(*p.last.Load()); late > p.within {
			reasons = append(reasons, Reason{Part: p.name, Reason: "stands still for " + late.Round(time.Second).String()})
		}
	}

	return reasons
}

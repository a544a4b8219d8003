package simulation

import "slices"

// What comes of it, for the vacuity check.
const (
	stalls    = "stalled"
	overtaken = "overtaken"
	crowd     = "two listeners published at once"
)

// stall is a process that stands still from a step of its own, until another one has
// taken over what it does.
type stall struct {
	steps   int  // until it does; 0: never
	sending bool // of its steps only messages count, else only requests
	still   bool
	waiting []*task
}

// maxStall is how long a listener stands still that nobody overtakes.
const maxStall = 4 * leaseTTL

// Where a listener stalls: A of the fault.
const (
	atMessage = iota // that it sends
	atRequest
	atReading // of the stream's end, which it has to do anew: a request, too
	places
)

// overtake makes the active listener stall, or holds up its messages, so that it goes on
// while its successor works.
func (w *world) overtake(f Fault) bool {
	i := slices.IndexFunc(w.listeners, func(l *listener) bool {
		return l != nil && !l.failed && !l.stall.still && l.lease.holds(l.clock())
	})
	if i < 0 {
		return false
	}

	l := w.listeners[i]
	l.lag = f.For
	w.after(maxStall, l.goOn)

	if f.Kind == HoldListener {
		l.wire.held = true

		return true
	}

	l.stall = stall{sending: f.A == atMessage, steps: 1 + f.B%8}

	if f.A == atReading {
		l.stall.steps = f.B
		l.wire.drop()
	}

	return true
}

// step is one of a process's steps that it may stall at.
func (p *process) step(sending bool) {
	s := &p.stall
	if s.steps == 0 || s.sending != sending {
		return
	}

	if s.steps--; s.steps == 0 {
		s.still = true
		p.judge.struck[stalls]++
		p.tell(p.name, "stalls")
	}
}

// leads has those go on that a listener has taken over from, a little later.
func (l *listener) leads() {
	for _, other := range l.listeners {
		if other != nil && other != l && (other.stall.still || other.wire.held) {
			l.judge.struck[overtaken]++
			l.after(other.lag, other.goOn)
		}
	}
}

// goOn ends that a listener stalls, or that its messages are held up.
func (l *listener) goOn() {
	if l.stall.still || l.wire.held {
		l.tell(l.name, "goes on")
	}

	waiting := l.stall.waiting
	l.stall = stall{}

	for _, t := range waiting {
		l.after(0, t.run)
	}

	l.wire.release()
}

// takes is how many changes a listener takes in before it looks after anything else.
func (l *listener) takes() int {
	if l.chance(0.2) {
		return 1 + l.random.IntN(40)
	}

	return 1 + l.random.IntN(5)
}

// release lets go what was held up.
func (n *wire) release() {
	messages := n.messages
	n.held, n.messages = false, nil

	for _, message := range messages {
		n.depart(message)
	}
}

// depart has a message arrive, in its order.
func (n *wire) depart(message func()) {
	p := n.process
	n.outgoing = later(n.outgoing, p.now.Add(p.delay()))
	p.at(n.outgoing, message)
}

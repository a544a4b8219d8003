package simulation

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/atlas-relay/atlas-relay/e2e/simulation/mongomodel"
)

// How long things take.
const (
	quickest       = 200 * time.Microsecond
	slowest        = 3 * time.Millisecond
	straggler      = 80 * time.Millisecond // now and then
	requestTimeout = time.Second           // shorter than the services', so that runs are
)

// delay is the time that something takes on its way.
func (w *world) delay() time.Duration {
	if w.chance(0.02) {
		return w.between(slowest, straggler)
	}

	return w.between(quickest, slowest)
}

// wire is a process's connection to NATS: natsmodel.Network. What is sent arrives in its
// order, also after its sender is gone.
type wire struct {
	process  *process
	session  int // of the server that it is connected to
	number   int // of the connection: who slept through its end sees that it is another one
	outgoing time.Time
	incoming time.Time
	held     bool     // nothing gets to the server
	messages []func() // that were sent meanwhile, and arrive afterwards
}

// connected tells whether the process believes to be.
func (n *wire) connected() bool {
	p := n.process

	return n.session == p.weather.natsSession && !p.now.Before(p.weather.natsDown) && !p.now.Before(p.cut)
}

// connect begins a new connection.
func (n *wire) connect() bool {
	p := n.process
	if p.now.Before(p.weather.natsDown) || p.now.Before(p.cut) {
		return false
	}

	n.session = p.weather.natsSession
	n.number++

	return true
}

// drop ends the connection.
func (n *wire) drop() { n.session = -1 }

// reaches tells whether something that was sent over a session gets there.
func (n *wire) reaches(session int) bool {
	w := n.process.world

	return session == w.weather.natsSession && !w.now.Before(w.weather.natsDown) && !w.now.Before(n.process.cut)
}

// Call implements natsmodel.Network.
func (n *wire) Call(ctx context.Context, request func()) error {
	p := n.process
	if p.current.killed {
		return errKilled
	}

	if err := ctx.Err(); err != nil {
		return err
	}

	session := n.session

	p.step(false)
	p.pause(p.delay())

	if n.held || !n.reaches(session) {
		p.pause(requestTimeout)

		return nats.ErrTimeout
	}

	request()
	p.step(false)

	lost := p.now.Before(p.weather.lossy) && p.chance(0.2)
	p.pause(p.delay())

	if lost || !n.reaches(session) {
		p.pause(requestTimeout)

		return nats.ErrTimeout
	}

	return nil
}

// Send implements natsmodel.Network. It may have to wait for room in the socket, amid
// whatever its caller has decided.
func (n *wire) Send(message func()) error {
	p := n.process
	if p.step(true); p.stall.still || p.chance(0.1) {
		p.pause(p.delay())
	}

	if !n.connected() {
		return nats.ErrConnectionClosed
	}

	session := n.session
	arrive := func() {
		if n.reaches(session) {
			message()
		}
	}

	if n.held {
		n.messages = append(n.messages, arrive)
	} else {
		n.depart(arrive)
	}

	return nil
}

// Reply implements natsmodel.Network.
func (n *wire) Reply(answer func()) {
	p := n.process
	session := n.session

	if p.now.Before(p.weather.lossy) && p.chance(0.3) {
		p.tell(p.name, "an answer to a publish is lost")

		return
	}

	n.incoming = later(n.incoming, p.now.Add(p.delay()))
	p.at(n.incoming, func() {
		if n.reaches(session) && !p.dead {
			answer()
		}
	})
}

// Flush implements natsmodel.Network.
func (n *wire) Flush(context.Context) error {
	p := n.process
	if !n.connected() {
		return nats.ErrConnectionClosed
	}

	if n.outgoing.After(p.now) {
		p.pause(n.outgoing.Sub(p.now) + time.Microsecond)
	}

	p.pause(p.delay())

	if n.held {
		p.pause(requestTimeout)
	}

	if n.held || !n.connected() {
		return nats.ErrTimeout
	}

	return nil
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}

	return b
}

// link is a process's connection to the target: mongomodel.Link.
type link struct{ process *process }

// errLate is the end of the time that a request may take.
var errLate = fmt.Errorf("the time is over: %w", context.DeadlineExceeded)

// Call implements mongomodel.Link.
func (l link) Call(ctx context.Context, name string, request func()) error {
	p := l.process
	if p.current.killed {
		return errKilled
	}

	if ctx.Err() != nil {
		return errors.Join(errLate, ctx.Err())
	}

	p.pause(p.delay())

	switch shaky := p.now.Before(p.weather.shaky); {
	case p.now.Before(p.weather.targetDown):
		p.pause(requestTimeout / 2)

		return mongomodel.ErrAway()
	case shaky && p.chance(0.15):
		return mongomodel.ErrAway()
	}

	request()

	if p.now.Before(p.weather.shaky) && p.chance(0.15) {
		p.tell(p.name, "the answer to %q is lost", name)
		p.judge.struck["answer of the target lost"]++
		p.pause(p.delay())

		return mongomodel.ErrAway()
	}

	p.pause(p.delay())

	return nil
}

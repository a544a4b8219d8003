package fault

import (
	"context"
	"fmt"
	"net"
	"slices"
	"sync"
	"time"
)

// Proxy stands between a service and the server that it uses, and does to connections what networks do. It forwards to
// one address. Its methods may be called from any goroutine.
//
//	client ──▶ ToTarget ──▶ target
//	       ◀── ToClient ◀──
//
// Faults add up until Heal. A stream of bytes never has a hole: what a fault swallows ends the connection at the latest
// when it is healed, as TCP would.
type Proxy struct {
	target   string
	listener net.Listener
	cancel   context.CancelFunc // ends dials
	unwatch  func() bool        // shut is no longer called when ctx ends
	tasks    sync.WaitGroup     // accepting, and each link

	mu      sync.Mutex
	closed  bool
	faults  faults
	changed chan struct{} // closed, and made anew, by every change of faults
	links   map[*link]struct{}
}

// Listen starts a proxy on a free port of 127.0.0.1 for the target ("host:port"), which need not be there yet. It ends
// with ctx; the caller must Close it to wait for that.
func Listen(ctx context.Context, target string) (*Proxy, error) {
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("listen for a fault proxy: %w", err)
	}

	ctx, cancel := context.WithCancel(ctx)

	p := &Proxy{
		target:   target,
		listener: listener,
		cancel:   cancel,
		faults:   noFaults(),
		changed:  make(chan struct{}),
		links:    map[*link]struct{}{},
	}

	p.tasks.Go(func() { p.accept(ctx) })
	p.unwatch = context.AfterFunc(ctx, p.shut)

	return p, nil
}

// Addr is where clients connect.
func (p *Proxy) Addr() string { return p.listener.Addr().String() }

// Close resets what is open and waits until nothing runs any more.
func (p *Proxy) Close() {
	p.unwatch()
	p.cancel()
	p.shut()
	p.tasks.Wait()
}

func (p *Proxy) shut() {
	p.mu.Lock()
	p.closed = true
	open := p.open()
	p.mu.Unlock()

	_ = p.listener.Close() // the second time it fails, and nothing is left to do

	reset(open)
}

// Delay makes bytes of a direction arrive this long after they were sent. It costs no throughput as long as less than
// 4 MiB are on their way.
func (p *Proxy) Delay(d Direction, latency time.Duration) {
	p.change(func(f *faults) { f.delay[d] = latency })
}

// Limit lets at most so many bytes a second pass, in each direction, all connections together; 0 is no limit.
func (p *Proxy) Limit(bytesPerSecond int) {
	p.change(func(f *faults) { f.rate, f.free = bytesPerSecond, [directions]time.Time{} })
}

// Refuse resets new connections as soon as they are made. Those that exist live on.
func (p *Proxy) Refuse() { p.change(func(f *faults) { f.refuse = true }) }

// Swallow goes half-open: everything sent, the end of a connection too, is taken and never arrives, and nobody is told.
func (p *Proxy) Swallow() {
	p.change(func(f *faults) { f.swallow = [directions]bool{true, true} })
}

// SwallowOnly goes half-open in one direction: the other one works.
func (p *Proxy) SwallowOnly(d Direction) { p.change(func(f *faults) { f.swallow[d] = true }) }

// String is the direction for people.
func (d Direction) String() string {
	if d == ToTarget {
		return "to the server"
	}

	return "to the client"
}

// CutAfter lets n more bytes of a direction pass and then resets the connection that carries the last of them; once. So
// a frame of a protocol is cut in the middle. What the peer has not read by then may be lost with it.
func (p *Proxy) CutAfter(d Direction, n int) { p.change(func(f *faults) { f.left[d] = n }) }

// Cut resets every connection (RST), at both ends. New ones are taken.
func (p *Proxy) Cut() {
	p.mu.Lock()
	open := p.open()
	p.mu.Unlock()

	reset(open)
}

// Heal ends all faults. Connections that Swallow took something from are reset.
func (p *Proxy) Heal() {
	p.mu.Lock()
	open := slices.DeleteFunc(p.open(), func(l *link) bool { return !l.lost })
	p.set(noFaults())
	p.mu.Unlock()

	reset(open)
}

// Connections is how many are open.
func (p *Proxy) Connections() int {
	p.mu.Lock()
	defer p.mu.Unlock()

	return len(p.links)
}

func (p *Proxy) change(how func(*faults)) {
	p.mu.Lock()
	defer p.mu.Unlock()

	f := p.faults
	how(&f)
	p.set(f)
}

// set is called with mu held.
func (p *Proxy) set(f faults) {
	p.faults = f

	close(p.changed)
	p.changed = make(chan struct{})
}

// open is called with mu held.
func (p *Proxy) open() []*link {
	links := make([]*link, 0, len(p.links))
	for l := range p.links {
		links = append(links, l)
	}

	return links
}

func reset(links []*link) {
	for _, l := range links {
		l.end(true)
	}
}

func (p *Proxy) accept(ctx context.Context) {
	for {
		client, err := p.listener.Accept()
		if err != nil {
			return // closed
		}

		p.tasks.Go(func() { p.serve(ctx, client) })
	}
}

// serve carries one connection until its end.
func (p *Proxy) serve(ctx context.Context, client net.Conn) {
	l := &link{proxy: p, client: client, done: make(chan struct{})}

	p.mu.Lock()
	refused := p.faults.refuse
	p.mu.Unlock()

	if refused {
		l.end(true)

		return
	}

	target, err := (&net.Dialer{}).DialContext(ctx, "tcp", p.target)
	if err != nil {
		l.end(true)

		return
	}

	l.target = target

	p.mu.Lock()
	closed := p.closed
	if !closed {
		p.links[l] = struct{}{}
	}
	p.mu.Unlock()

	if closed {
		l.end(true)

		return
	}

	l.carry()

	p.mu.Lock()
	delete(p.links, l)
	p.mu.Unlock()
}

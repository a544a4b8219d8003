package fault

import (
	"bytes"
	"errors"
	"io"
	"net"
	"sync"
	"time"
)

// What may be on its way in one direction of a connection: 4 MiB.
const (
	chunkBytes = 8 << 10
	chunks     = 512
)

// link is one connection of a client and the one to the target that belongs to it.
type link struct {
	proxy  *Proxy
	client net.Conn
	target net.Conn // nil until it is made

	lost bool // Swallow took something from it; guarded by the proxy's mu

	once sync.Once
	done chan struct{} // closed by end
}

// chunk is what was read at a time, or the end of the stream.
type chunk struct {
	data  []byte // empty at the end
	came  time.Time
	reset bool // the end was not an orderly one
}

// end closes both connections, by RST when it is a reset.
func (l *link) end(reset bool) {
	l.once.Do(func() {
		close(l.done)

		for _, conn := range []net.Conn{l.client, l.target} {
			if conn == nil {
				continue
			}

			if tcp, ok := conn.(*net.TCPConn); ok && reset {
				_ = tcp.SetLinger(0) // fails only on a closed connection
			}

			_ = conn.Close() // the same
		}
	})
}

// carry forwards both directions until both have ended.
func (l *link) carry() {
	var tasks sync.WaitGroup

	for _, way := range []struct {
		d        Direction
		from, to net.Conn
	}{{ToTarget, l.client, l.target}, {ToClient, l.target, l.client}} {
		queue := make(chan chunk, chunks)

		tasks.Go(func() { l.read(way.from, queue) })
		tasks.Go(func() { l.write(way.d, way.to, queue) })
	}

	tasks.Wait()
	l.end(false)
}

// read fills the queue until the stream or the link ends.
func (l *link) read(from net.Conn, queue chan<- chunk) {
	buffer := make([]byte, chunkBytes)

	for {
		n, err := from.Read(buffer)
		if n > 0 && !l.put(queue, chunk{data: bytes.Clone(buffer[:n]), came: time.Now()}) {
			return
		}

		if err != nil {
			l.put(queue, chunk{came: time.Now(), reset: !errors.Is(err, io.EOF)})

			return
		}
	}
}

func (l *link) put(queue chan<- chunk, c chunk) bool {
	select {
	case queue <- c:
		return true
	case <-l.done:
		return false
	}
}

// write empties the queue as the faults let it.
func (l *link) write(d Direction, to net.Conn, queue <-chan chunk) {
	for {
		select {
		case c := <-queue:
			if !l.forward(d, to, c) {
				return
			}
		case <-l.done:
			return
		}
	}
}

// forward tells whether more may follow.
func (l *link) forward(d Direction, to net.Conn, c chunk) bool {
	for {
		s, changed := l.next(d, &c)

		switch {
		case s.drop && len(c.data) == 0:
			<-l.done // nobody is told of the end

			return false
		case s.drop:
			return true
		case s.wait > 0:
			if !l.pause(s.wait, changed) {
				return false
			}

			continue
		case len(c.data) == 0:
			return l.finish(to, c.reset)
		}

		if _, err := to.Write(c.data[:s.pass]); err != nil || s.cut {
			l.end(true)

			return false
		}

		if c.data = c.data[s.pass:]; len(c.data) == 0 {
			return true
		}
	}
}

// next asks the faults what becomes of the chunk. The end of a stream waits and is swallowed like bytes, but is none.
func (l *link) next(d Direction, c *chunk) (step, <-chan struct{}) {
	p := l.proxy

	p.mu.Lock()
	defer p.mu.Unlock()

	now := time.Now()

	if len(c.data) > 0 || p.faults.swallow[d] {
		s := p.faults.next(now, c.came, d, len(c.data))
		l.lost = l.lost || s.drop

		return s, p.changed
	}

	return step{wait: p.faults.wait(now, c.came, d)}, p.changed
}

// pause waits, less when the faults change; false says that the link has ended.
func (l *link) pause(wait time.Duration, changed <-chan struct{}) bool {
	timer := time.NewTimer(wait)
	defer timer.Stop()

	select {
	case <-timer.C:
		return true
	case <-changed:
		return true
	case <-l.done:
		return false
	}
}

// finish passes the end of a stream on: the other direction lives on after an orderly one.
func (l *link) finish(to net.Conn, reset bool) bool {
	if tcp, ok := to.(*net.TCPConn); ok && !reset {
		_ = tcp.CloseWrite() // fails when the peer is gone: the other direction notices

		return false
	}

	l.end(true)

	return false
}

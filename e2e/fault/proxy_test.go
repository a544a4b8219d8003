package fault_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/atlas-relay/atlas-relay/e2e/fault"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const patience = 20 * time.Second // most that any condition may take on a busy machine

// echo is a target that sends back what it gets, and counts the connections that are open there.
type echo struct {
	addr string

	mu   sync.Mutex
	open int
}

func newEcho(t *testing.T) *echo {
	t.Helper()

	listener, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	require.NoError(t, err)

	var tasks sync.WaitGroup

	e := &echo{addr: listener.Addr().String()}

	tasks.Go(func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}

			tasks.Go(func() { e.serve(conn) })
		}
	})

	t.Cleanup(func() {
		listener.Close()
		tasks.Wait()
	})

	return e
}

func (e *echo) serve(conn net.Conn) {
	defer conn.Close()

	e.count(1)
	defer e.count(-1)

	_, _ = io.Copy(conn, conn)
}

func (e *echo) count(n int) int {
	e.mu.Lock()
	defer e.mu.Unlock()

	e.open += n

	return e.open
}

func newProxy(t *testing.T) (*fault.Proxy, *echo) {
	t.Helper()

	e := newEcho(t)
	p, err := fault.Listen(t.Context(), e.addr)
	require.NoError(t, err)
	t.Cleanup(p.Close) // before the target's cleanup, which waits for its connections

	return p, e
}

// dialAndTalk is for a proxy that may reset the connection before it is used.
func dialAndTalk(t *testing.T, p *fault.Proxy) error {
	t.Helper()

	conn, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", p.Addr())
	if err != nil {
		return err
	}
	defer conn.Close()

	return talk(conn, "new")
}

func dial(t *testing.T, p *fault.Proxy) *net.TCPConn {
	t.Helper()

	conn, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", p.Addr())
	require.NoError(t, err)
	t.Cleanup(func() { conn.Close() })
	require.NoError(t, conn.SetDeadline(time.Now().Add(patience)))

	tcp, ok := conn.(*net.TCPConn)
	require.True(t, ok)

	return tcp
}

// talk sends the text and waits for it to come back.
func talk(conn net.Conn, text string) error {
	if _, err := io.WriteString(conn, text); err != nil {
		return err
	}

	_, err := io.ReadFull(conn, make([]byte, len(text)))

	return err
}

// requireSilence reads nothing for a moment.
func requireSilence(t *testing.T, conn net.Conn) {
	t.Helper()

	require.NoError(t, conn.SetReadDeadline(time.Now().Add(50*time.Millisecond)))

	_, err := conn.Read(make([]byte, 1))
	require.ErrorIs(t, err, os.ErrDeadlineExceeded)
	require.NoError(t, conn.SetReadDeadline(time.Now().Add(patience)))
}

func requireReset(t *testing.T, err error) {
	t.Helper()

	require.True(t, errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE), "%v", err)
}

func TestForwards(t *testing.T) {
	t.Parallel()

	p, e := newProxy(t)

	var clients sync.WaitGroup

	for i := range 8 {
		conn := dial(t, p)
		sent := bytes.Repeat([]byte{byte(i), 1, 2, 3, 4}, 256<<10)

		clients.Go(func() {
			if _, err := conn.Write(sent); err != nil {
				t.Error(err)
			}

			_ = conn.CloseWrite() // the answer comes none the less
		})

		clients.Go(func() {
			if got, err := io.ReadAll(conn); err != nil || !bytes.Equal(got, sent) {
				t.Error(err, len(got))
			}
		})
	}

	clients.Wait()
	require.Eventually(t, func() bool { return p.Connections() == 0 && e.count(0) == 0 }, patience, time.Millisecond)
}

func TestDelay(t *testing.T) {
	t.Parallel()

	p, _ := newProxy(t)
	conn := dial(t, p)

	p.Delay(fault.ToTarget, 30*time.Millisecond)
	p.Delay(fault.ToClient, 50*time.Millisecond)

	begin := time.Now()
	require.NoError(t, talk(conn, "x"))
	require.GreaterOrEqual(t, time.Since(begin), 80*time.Millisecond)

	// A thousand writes on their way at once, not one after the other.
	begin = time.Now()

	for range 1000 {
		_, err := io.WriteString(conn, "x")
		require.NoError(t, err)
	}

	_, err := io.ReadFull(conn, make([]byte, 1000))
	require.NoError(t, err)
	require.Less(t, time.Since(begin), patience/2)

	p.Delay(fault.ToTarget, time.Hour)

	_, err = io.WriteString(conn, "x")
	require.NoError(t, err)
	requireSilence(t, conn)
	p.Heal()

	_, err = io.ReadFull(conn, make([]byte, 1))
	require.NoError(t, err, "what waits hears of the change")
}

func TestLimit(t *testing.T) {
	t.Parallel()

	p, _ := newProxy(t)
	conn, other := dial(t, p), dial(t, p)

	const rate = 100 << 10

	p.Limit(rate)

	begin := time.Now()

	var talks sync.WaitGroup
	for _, c := range []net.Conn{conn, other} {
		talks.Go(func() {
			if err := talk(c, string(make([]byte, rate/4))); err != nil {
				t.Error(err)
			}
		})
	}

	talks.Wait()
	require.GreaterOrEqual(t, time.Since(begin), 400*time.Millisecond, "half of a second's bytes, less the last slice")
}

func TestCut(t *testing.T) {
	t.Parallel()

	p, e := newProxy(t)
	conns := []net.Conn{dial(t, p), dial(t, p)}

	for _, conn := range conns {
		require.NoError(t, talk(conn, "before"))
	}

	p.Cut()

	for _, conn := range conns {
		requireReset(t, talk(conn, "after"))
	}

	require.Eventually(t, func() bool { return p.Connections() == 0 && e.count(0) == 0 }, patience, time.Millisecond)
	require.NoError(t, talk(dial(t, p), "again"))
}

func TestRefuse(t *testing.T) {
	t.Parallel()

	p, _ := newProxy(t)
	old := dial(t, p)
	require.NoError(t, talk(old, "before"))

	p.Refuse()
	requireReset(t, dialAndTalk(t, p))
	require.NoError(t, talk(old, "after"))

	p.Heal()
	require.NoError(t, talk(dial(t, p), "again"))
	require.NoError(t, talk(old, "still"))
}

func TestSwallow(t *testing.T) {
	t.Parallel()

	p, e := newProxy(t)
	used, unused, left := dial(t, p), dial(t, p), dial(t, p)

	for _, conn := range []net.Conn{used, unused, left} {
		require.NoError(t, talk(conn, "before"))
	}

	p.Swallow()
	require.NoError(t, left.Close())

	// More than all buffers hold, so it is taken and not only kept.
	_, err := used.Write(make([]byte, 32<<20))
	require.NoError(t, err)

	requireSilence(t, used)
	require.Equal(t, 3, e.count(0), "the target has not heard of the end")

	p.Heal()
	requireReset(t, talk(used, "after"))
	require.Eventually(t, func() bool { return p.Connections() == 1 && e.count(0) == 1 }, patience, time.Millisecond)
	require.NoError(t, talk(unused, "after"), "nothing of it was lost")
	require.NoError(t, talk(dial(t, p), "again"))
}

// TestSwallowOnly: what the target sends arrives, what it is sent does not.
func TestSwallowOnly(t *testing.T) {
	t.Parallel()

	for _, towards := range []fault.Direction{fault.ToTarget, fault.ToClient} {
		t.Run(towards.String(), func(t *testing.T) {
			t.Parallel()

			p, _ := newProxy(t)
			conn, other := dial(t, p), dial(t, p)
			require.NoError(t, talk(conn, "before"))
			require.NoError(t, talk(other, "before"))

			p.SwallowOnly(towards)

			_, err := io.WriteString(conn, "lost")
			require.NoError(t, err)
			requireSilence(t, conn)

			p.Heal()
			requireReset(t, talk(conn, "after"))
			require.NoError(t, talk(other, "after"), "nothing of it was lost")
		})
	}
}

func TestCutAfter(t *testing.T) {
	t.Parallel()

	const smallest = 16 << 10 // what every buffer on the way holds

	for _, n := range []int{0, 1, 12_345, 1 << 20} {
		p, _ := newProxy(t)
		conn := dial(t, p)
		require.NoError(t, talk(conn, "before"))

		p.CutAfter(fault.ToClient, n)

		written := make(chan error, 1)

		go func() {
			_, err := conn.Write(make([]byte, 4<<20))
			written <- err
		}()

		got, err := io.ReadAll(conn)
		requireReset(t, errors.Join(err, <-written)) // the kernel tells one of the two
		require.LessOrEqual(t, len(got), n)

		if n < smallest {
			require.Equal(t, n, len(got)) //nolint:testifylint // Len would print it all
		}

		require.NoError(t, talk(dial(t, p), "again"), "once")
	}
}

func TestTargetThatIsAway(t *testing.T) {
	t.Parallel()

	listener, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	require.NoError(t, err)

	addr := listener.Addr().String()
	require.NoError(t, listener.Close())

	p, err := fault.Listen(t.Context(), addr)
	require.NoError(t, err)
	t.Cleanup(p.Close)

	requireReset(t, dialAndTalk(t, p))
}

func TestEnds(t *testing.T) {
	t.Parallel()

	// What waits for anything at all ends with the proxy.
	faults := map[string]func(*fault.Proxy){
		"none":    func(*fault.Proxy) {},
		"delay":   func(p *fault.Proxy) { p.Delay(fault.ToTarget, time.Hour) },
		"limit":   func(p *fault.Proxy) { p.Limit(1) },
		"swallow": (*fault.Proxy).Swallow,
	}

	for name, set := range faults {
		t.Run(name, func(t *testing.T) {
			t.Parallel()

			ctx, cancel := context.WithCancel(t.Context())
			p, err := fault.Listen(ctx, newEcho(t).addr)
			require.NoError(t, err)
			t.Cleanup(p.Close)

			conn := dial(t, p)
			require.NoError(t, talk(conn, "before"))
			set(p)

			_, err = io.WriteString(conn, "some")
			require.NoError(t, err)

			cancel()
			p.Close()
			p.Close()

			_, err = io.ReadAll(conn)
			requireReset(t, err)
			require.Zero(t, p.Connections())
		})
	}
}

package fault_test

import (
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

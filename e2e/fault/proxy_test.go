package fault_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/atlas-relay/atlas-relay/e2e/fault"
)

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

package capture_test

import (
	"context"
	"io"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.mongodb.org/mongo-driver/v2/mongo"

	"github.com/atlas-relay/atlas-relay/pkg/mongodb"
	"github.com/atlas-relay/atlas-relay/pkg/settings"
)

// way is a way to the source that can be cut.
type way struct {
	target   string
	listener net.Listener

	mu    sync.Mutex
	shut  bool
	conns map[net.Conn]struct{}
	tasks sync.WaitGroup
}

func newWay(t *testing.T, target string) *way {
	t.Helper()

	listener, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	require.NoError(t, err)

	w := &way{target: target, listener: listener, conns: map[net.Conn]struct{}{}}
	w.tasks.Go(w.accept)
	t.Cleanup(func() {
		_ = listener.Close()

		w.cut()
		w.tasks.Wait()
	})

	return w
}

func (w *way) client(t *testing.T) *mongo.Client {
	t.Helper()

	uri := settings.NewURI("mongodb://" + w.listener.Addr().String() + "/?directConnection=true")
	client, err := mongodb.Connect(uri, mongodb.Options{ServerSelectionTimeout: time.Second})
	require.NoError(t, err)
	t.Cleanup(func() { _ = mongodb.Disconnect(context.WithoutCancel(t.Context()), client) })

	return client
}

func (w *way) accept() {
	for {
		from, err := w.listener.Accept()
		if err != nil {
			return
		}

		to, err := net.Dial("tcp", w.target)
		if err != nil || !w.keep(from, to) {
			_ = from.Close()

			continue
		}

		w.tasks.Go(func() { carry(from, to) })
		w.tasks.Go(func() { carry(to, from) })
	}
}

func carry(from, to net.Conn) {
	_, _ = io.Copy(to, from)
	_, _ = from.Close(), to.Close()
}

func (w *way) keep(conns ...net.Conn) bool {
	w.mu.Lock()
	defer w.mu.Unlock()

	for _, conn := range conns {
		if w.shut {
			_ = conn.Close()
		} else {
			w.conns[conn] = struct{}{}
		}
	}

	return !w.shut
}

func (w *way) cut() {
	w.mu.Lock()
	defer w.mu.Unlock()

	w.shut = true

	for conn := range w.conns {
		_ = conn.Close()
	}

	clear(w.conns)
}

func (w *way) mend() {
	w.mu.Lock()
	defer w.mu.Unlock()

	w.shut = false
}

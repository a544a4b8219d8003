package apply_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"io"
	"net"
	"slices"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
	"go.mongodb.org/mongo-driver/v2/bson"
)

// wire passes a client's messages to the real server and cuts the connection at
// the commands it is told.
type wire struct {
	tb     testing.TB
	server string
	wg     sync.WaitGroup

	mu        sync.Mutex
	open      []net.Conn // to the server
	closed    bool
	commands  []string
	skip      int  // commands that pass before the first cut
	remaining int  // cuts still to make
	delivered bool // the server gets the command, the client no reply
	hit       func()
	cuts      int
	unknown   string // a field that the server's commands do not have
	refusals  int    // commands that had it
}

// newWire listens in front of a server.
func newWire(tb testing.TB, server string) (*wire, string) {
	tb.Helper()

	listener, err := (&net.ListenConfig{}).Listen(tb.Context(), "tcp", "127.0.0.1:0")
	require.NoError(tb, err)

	w := &wire{tb: tb, server: server}

	w.wg.Go(func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}

			w.wg.Go(func() { w.serve(conn) })
		}
	})

	tb.Cleanup(func() {
		require.NoError(tb, listener.Close())
		w.hangUp()
		w.wg.Wait() // the clients are gone: their cleanup ran before
	})

	return w, listener.Addr().String()
}

// cut makes the next n messages with this command fail. hit, when set, is called
// at each before the server gets it.
func (w *wire) cut(command string, n int, delivered bool, hit func()) {
	w.mu.Lock()
	defer w.mu.Unlock()

	w.commands, w.skip, w.remaining, w.delivered, w.hit, w.cuts = []string{command}, 0, n, delivered, hit, 0
}

// cutWrite makes the write behind the next so many fail.
func (w *wire) cutWrite(after int, delivered bool) {
	w.mu.Lock()
	defer w.mu.Unlock()

	w.commands, w.skip, w.remaining, w.delivered, w.hit, w.cuts = []string{"bulkWrite", "update", "delete", "insert"}, after, 1, delivered, nil, 0
}

// forget makes the server one whose commands have no field of that name.
func (w *wire) forget(field string) {
	w.mu.Lock()
	defer w.mu.Unlock()

	w.unknown = field
}

// refused counts the commands that had the forgotten field.
func (w *wire) refused() int {
	w.mu.Lock()
	defer w.mu.Unlock()

	return w.refusals
}

// refusal is what the server replies to a command with a field that it does not have; nil when there is none.
func (w *wire) refusal(request []byte) []byte {
	w.mu.Lock()
	defer w.mu.Unlock()

	if w.unknown == "" || !bytes.Contains(request, []byte(w.unknown+"\x00")) {
		return nil
	}

	w.refusals++

	// Header, flags, and a section that is the document; see message.
	const (
		opMsg     = 2013
		beginning = 21
	)

	body := marshal(w.tb, bson.D{
		{Key: "ok", Value: 0.0},
		{Key: "code", Value: 40415},
		{Key: "codeName", Value: "IDLUnknownField"},
		{Key: "errmsg", Value: "BSON field '" + w.unknown + "' is an unknown field."},
	})
	reply := make([]byte, beginning, beginning+len(body))
	binary.LittleEndian.PutUint32(reply, uint32(beginning+len(body)))
	copy(reply[8:12], request[4:8]) // the request's number
	binary.LittleEndian.PutUint32(reply[12:], opMsg)

	return append(reply, body...)
}

func (w *wire) count() int {
	w.mu.Lock()
	defer w.mu.Unlock()

	return w.cuts
}

func (w *wire) due(message []byte) (cut, delivered bool, hit func()) {
	w.mu.Lock()
	defer w.mu.Unlock()

	// The command is the first element of the body: its name, ended by 0.
	if w.remaining == 0 || !slices.ContainsFunc(w.commands, func(name string) bool {
		return bytes.Contains(message[:min(len(message), 64)], []byte(name+"\x00"))
	}) {
		return false, false, nil
	}

	if w.skip > 0 {
		w.skip--

		return false, false, nil
	}

	w.remaining--
	w.cuts++

	return true, w.delivered, w.hit
}

func (w *wire) serve(client net.Conn) {
	defer client.Close()

	server, err := (&net.Dialer{}).DialContext(context.WithoutCancel(w.tb.Context()), "tcp", w.server)
	if err != nil {
		return // the server is down: so is this connection
	}
	defer server.Close()

	if !w.keep(server) {
		return
	}

	for {
		request, err := message(client)
		if err != nil {
			return
		}

		if reply := w.refusal(request); reply != nil {
			if _, err := client.Write(reply); err != nil {
				return
			}

			continue
		}

		cut, delivered, hit := w.due(request)
		if hit != nil {
			hit()
		}

		if cut && !delivered {
			return
		}

		if _, err := server.Write(request); err != nil {
			return
		}

		reply, err := message(server)
		if err != nil || cut {
			return
		}

		if _, err := client.Write(reply); err != nil {
			return
		}
	}
}

// keep remembers a connection for hangUp; false says that it came too late.
func (w *wire) keep(server net.Conn) bool {
	w.mu.Lock()
	defer w.mu.Unlock()

	w.open = append(w.open, server)

	return !w.closed
}

// hangUp does not wait for the server to answer a monitor's hello, which takes
// it up to ten seconds.
func (w *wire) hangUp() {
	w.mu.Lock()
	defer w.mu.Unlock()

	w.closed = true
	for _, server := range w.open {
		_ = server.Close()
	}
}

// message reads one message of the MongoDB wire protocol; the first four bytes
// are its length.
func message(r io.Reader) ([]byte, error) {
	var length [4]byte
	if _, err := io.ReadFull(r, length[:]); err != nil {
		return nil, err
	}

	all := make([]byte, binary.LittleEndian.Uint32(length[:]))
	copy(all, length[:])

	_, err := io.ReadFull(r, all[4:])

	return all, err
}

package mongotest

import (
	"encoding/binary"
	"errors"
	"io"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/atlas-relay/atlas-relay/pkg/settings"
)

// Command is one that a client sent.
type Command struct {
	Name string // "find"
	DB   string
	Body bson.Raw
	// Sections are the document sequences that travel beside the body: documents, updates, deletes, ops, nsInfo.
	Sections map[string][]bson.Raw
}

// Coll is the collection that the command names first; empty for one of a database or of the server.
func (c Command) Coll() string {
	name, _ := c.Body.Lookup(c.Name).StringValueOK()

	return name
}

// Wire is a TCP relay in front of a server that notes every command, of a whole process if need be: a command monitor
// would see only the clients that take one.
type Wire struct {
	listener net.Listener
	to       string
	tasks    sync.WaitGroup

	mu       sync.Mutex
	conns    []net.Conn
	closed   bool
	before   func(Command)        // may be nil; see Before
	answer   func(Command) bson.D // may be nil; see Answer
	commands []Command
	damaged  error // first message that could not be read
}

// NewWire relays to the server until the test ends. TLS and compression would hide the commands.
func (s *Server) NewWire(tb testing.TB) *Wire {
	tb.Helper()

	listener, err := (&net.ListenConfig{}).Listen(tb.Context(), "tcp", loopback+":0")
	require.NoError(tb, err)

	w := &Wire{listener: listener, to: s.Addr()}
	w.tasks.Go(w.accept)
	tb.Cleanup(func() {
		w.close()
		require.NoError(tb, w.damaged, "the wire could not read a message")
	})

	return w
}

// Through is the URI with the wire's address instead of the server's.
func (w *Wire) Through(uri settings.URI) settings.URI {
	return settings.NewURI(strings.Replace(uri.Reveal(), w.to, w.listener.Addr().String(), 1))
}

// Before lets a test act at a certain command: f is called with each one before the server gets it.
func (w *Wire) Before(f func(Command)) {
	w.mu.Lock()
	defer w.mu.Unlock()

	w.before = f
}

// Commands are those noted so far, in the order of their arrival.
func (w *Wire) Commands() []Command {
	w.mu.Lock()
	defer w.mu.Unlock()

	return slices.Clone(w.commands)
}

func (w *Wire) close() {
	_ = w.listener.Close()

	w.mu.Lock()
	w.closed = true
	conns := w.conns
	w.mu.Unlock()

	for _, conn := range conns {
		_ = conn.Close()
	}

	w.tasks.Wait()
}

func (w *Wire) accept() {
	for {
		client, err := w.listener.Accept()
		if err != nil {
			return // closed
		}

		server, err := net.Dial("tcp", w.to)
		if err != nil {
			_ = client.Close()

			continue
		}

		if !w.keep(client, server) {
			return
		}

		w.tasks.Go(func() { w.forward(client, server) })
		w.tasks.Go(func() {
			defer client.Close()

			_, _ = io.Copy(client, server)
		})
	}
}

// keep remembers the connections for close; false when that has been already.
func (w *Wire) keep(conns ...net.Conn) bool {
	w.mu.Lock()
	defer w.mu.Unlock()

	if w.closed {
		for _, conn := range conns {
			_ = conn.Close()
		}

		return false
	}

	w.conns = append(w.conns, conns...)

	return true
}

// Sizes and operation codes of https://www.mongodb.com/docs/manual/reference/mongodb-wire-protocol/.
const (
	headerSize = 16
	opQuery    = 2004
	opMsg      = 2013
)

// forward notes each message of a client, then hands it on.
func (w *Wire) forward(client io.ReadWriter, server net.Conn) {
	defer server.Close()

	for {
		header := make([]byte, headerSize)
		if _, err := io.ReadFull(client, header); err != nil {
			return
		}

		message := make([]byte, max(headerSize, binary.LittleEndian.Uint32(header)))
		copy(message, header)

		if _, err := io.ReadFull(client, message[headerSize:]); err != nil {
			return
		}

		to, message := io.Writer(server), message
		if reply := w.note(message); reply != nil {
			to, message = client, replyTo(message, reply)
		}

		if _, err := to.Write(message); err != nil {
			return
		}
	}
}

// note returns the answer of the test, if it has one.
func (w *Wire) note(message []byte) bson.Raw {
	command, err := parseCommand(message)

	w.mu.Lock()
	before, answer := w.before, w.answer

	if err != nil {
		w.damaged = errors.Join(w.damaged, err)
	} else {
		w.commands = append(w.commands, command)
	}
	w.mu.Unlock()

	if err == nil && before != nil {
		before(command)
	}

	if err != nil || answer == nil {
		return nil
	}

	return encode(answer(command))
}

var errNotUnderstood = errors.New("not a message of MongoDB that is known here")

func parseCommand(message []byte) (Command, error) {
	body := message[headerSize:]

	switch binary.LittleEndian.Uint32(message[12:]) {
	case opQuery: // the first hello of a connection: flags, name of the collection, two numbers, the document
		if len(body) < 4 {
			return Command{}, errNotUnderstood
		}

		name, rest, ok := strings.Cut(string(body[4:]), "\x00")
		if !ok || len(rest) < 8 {
			return Command{}, errNotUnderstood
		}

		db, _, _ := strings.Cut(name, ".")
		c := Command{DB: db}

		return c.named(bson.Raw(rest[8:]))
	case opMsg:
		return parseMessage(body)
	default:
		return Command{}, errNotUnderstood
	}
}

// parseMessage reads flags, then sections: of kind 0 the body, of kind 1 a sequence of documents with a name.
func parseMessage(message []byte) (Command, error) {
	c := Command{Sections: make(map[string][]bson.Raw)}

	var body bson.Raw

	if len(message) < 4 {
		return c, errNotUnderstood
	}

	checksum := message[0]&1 != 0
	rest := message[4:]

	if checksum && len(rest) >= 4 {
		rest = rest[:len(rest)-4]
	}

	for len(rest) > 5 {
		kind, size := rest[0], int(binary.LittleEndian.Uint32(rest[1:]))
		if size > len(rest)-1 {
			return c, errNotUnderstood
		}

		section := rest[1 : 1+size]
		rest = rest[1+size:]

		if kind == 0 {
			body = section

			continue
		}

		name, documents, _ := strings.Cut(string(section[4:]), "\x00")
		for len(documents) > 4 {
			length := int(binary.LittleEndian.Uint32([]byte(documents[:4])))
			if length > len(documents) {
				return c, errNotUnderstood
			}

			c.Sections[name] = append(c.Sections[name], bson.Raw(documents[:length]))
			documents = documents[length:]
		}
	}

	c.DB, _ = body.Lookup("$db").StringValueOK()

	return c.named(body)
}

func (c Command) named(body bson.Raw) (Command, error) {
	elements, err := body.Elements()
	if err != nil || len(elements) == 0 {
		return c, errNotUnderstood
	}

	c.Name, c.Body = elements[0].Key(), body

	return c, nil
}

package main

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"sync"

	"go.mongodb.org/mongo-driver/v2/bson"
)

// Sizes and operation codes of https://www.mongodb.com/docs/manual/reference/mongodb-wire-protocol/.
const (
	headerSize = 16
	opReply    = 1
	opMsg      = 2013

	replyDocument   = headerSize + 20 // flags, id of the cursor, first document, their number
	messageDocument = headerSize + 5  // flags, kind of the section
	hasChecksum     = 1
	most            = 64 << 20 // of any message

	// mostOurs is more than any command or answer takes that is about the set; what is larger goes through unread.
	mostOurs = 16 << 10
)

// serve relays every connection to the server behind, until the listener is closed.
func (m *member) serve(listener net.Listener) {
	for {
		client, err := listener.Accept()
		if err != nil {
			return
		}

		go m.relay(client)
	}
}

func (m *member) relay(client net.Conn) {
	defer client.Close()

	server, err := net.Dial("tcp", backend) //nolint:noctx // the process ends with its connections
	if err != nil {
		return // not yet there: the client comes again
	}
	defer server.Close()

	toClient := &locked{to: client}

	go func() {
		defer client.Close()

		_ = forward(server, toClient, func(message []byte) ([]byte, bool) { return m.answered(message), false })
	}()

	_ = forward(client, server, func(message []byte) ([]byte, bool) {
		if answer := m.asked(message); answer != nil {
			_, _ = toClient.Write(answer)

			return nil, true
		}

		return message, false
	})
}

// locked writes whole messages: those of the server behind and our own.
type locked struct {
	mu sync.Mutex
	to io.Writer
}

func (l *locked) Write(message []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()

	return l.to.Write(message)
}

// forward hands messages on; small ones are shown to see first, which may change or keep them.
func forward(from io.Reader, to io.Writer, see func(message []byte) (changed []byte, keep bool)) error {
	for {
		head := make([]byte, headerSize)
		if _, err := io.ReadFull(from, head); err != nil {
			return err
		}

		size := int(binary.LittleEndian.Uint32(head))
		if size < headerSize || size > most {
			return errors.New("not a message")
		}

		message := make([]byte, size)
		copy(message, head)

		if _, err := io.ReadFull(from, message[headerSize:]); err != nil {
			return err
		}

		if size <= mostOurs {
			changed, keep := see(message)
			if keep {
				continue
			}

			message = changed
		}

		if _, err := to.Write(message); err != nil {
			return err
		}
	}
}

// asked is the answer to a message of a client; nil when the server behind has to give it.
func (m *member) asked(message []byte) []byte {
	if opCode(message) != opMsg || len(message) < messageDocument || message[messageDocument-1] != 0 {
		return nil
	}

	answer := m.answer(document(message[messageDocument:]))
	if answer == nil {
		return nil
	}

	body, err := bson.Marshal(answer)
	if err != nil {
		return nil
	}

	reply := make([]byte, messageDocument, messageDocument+len(body))
	copy(reply[8:], message[4:8]) // it responds to this request
	binary.LittleEndian.PutUint32(reply[12:], opMsg)

	return sized(append(reply, body...))
}

// answered is a message of the server behind as this member sends it.
func (m *member) answered(message []byte) []byte {
	at := replyDocument

	switch opCode(message) {
	case opReply:
	case opMsg:
		at = messageDocument
	default:
		return message
	}

	if len(message) < at || !bytes.Contains(message, []byte("setName\x00")) {
		return message
	}

	changed := m.introduce(document(message[at:]))
	if changed == nil {
		return message
	}

	body, err := bson.Marshal(changed)
	if err != nil {
		return message
	}

	head := bytes.Clone(message[:at])
	if at == messageDocument {
		head[headerSize] &^= hasChecksum
	}

	return sized(append(head, body...))
}

func opCode(message []byte) uint32 { return binary.LittleEndian.Uint32(message[12:]) }

// document is the one at the beginning of some bytes; nil when there is none.
func document(b []byte) bson.Raw {
	const least = 5

	if len(b) < least {
		return nil
	}

	size := int(binary.LittleEndian.Uint32(b))
	if size < least || size > len(b) || bson.Raw(b[:size]).Validate() != nil {
		return nil
	}

	return b[:size]
}

// sized writes the length of a message into its head.
func sized(message []byte) []byte {
	binary.LittleEndian.PutUint32(message, uint32(len(message)))

	return message
}

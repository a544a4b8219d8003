package verify

import (
	"errors"
	"fmt"
	"hash/fnv"
	"strconv"
	"strings"

	"github.com/atlas-relay/atlas-relay/e2e/history"
)

// Kinds of messages.
type kind int

const (
	ofEvent kind = iota
	ofMarker
	ofBarrier // a schema change, or its copy for another partition than 0
)

// message is one message of the stream, read by the rules of its headers.
type message struct {
	sequence  uint64
	kind      kind
	partition int
	ns        string

	stream                            string
	generation, event, skipped, count uint64
	writer                            string
	at                                position
	part, parts                       int
	size, attempt                     int // of the whole event, in bytes; and of its publishing, from 1
	payload                           int // bytes of this message
	token                             uint64
	id, expected                      string
	behind                            uint64 // sequence that it names as the one before it; 0 for none
}

func (m *message) isCopy() bool { return m.kind == ofBarrier && m.partition != 0 }

// completes tells whether an event is in the stream as a whole with this message.
func (m *message) completes() bool { return m.kind != ofMarker && !m.isCopy() && m.part == m.parts }

func parseMessage(r *history.Message) (message, error) {
	m := message{
		sequence: r.Sequence, payload: r.Size,
		stream: r.Header[HeaderStream], writer: r.Header[HeaderWriter], id: r.Header[HeaderID], expected: r.Header[HeaderExpectedID],
	}

	h := headers{values: r.Header}
	m.generation, m.event, m.skipped = h.number(HeaderGeneration, 0), h.number(HeaderEvent, 0), h.number(HeaderSkipped, 0)
	m.behind = h.number(HeaderExpectedSequence, 0)
	m.count, m.attempt = h.number(HeaderCount, 0), int(h.number(HeaderAttempt, 1))
	m.part, m.parts = h.part()
	m.size = int(h.number(HeaderSize, uint64(r.Size)))

	var err error
	if m.at, err = parsePosition(r.Header[HeaderPosition]); err != nil {
		h.errs = append(h.errs, err)
	}

	token := fnv.New64a()
	_, _ = token.Write([]byte(r.Header[HeaderToken])) // never fails
	m.token = token.Sum64()

	if r.Header[HeaderToken] == "" || m.stream == "" || m.id == "" || r.Header[HeaderEvent] == "" {
		h.errs = append(h.errs, errors.New("a header that every message has is missing"))
	}

	if m.skipped > m.event || m.parts == 1 && m.size != r.Size {
		h.errs = append(h.errs, errors.New("its numbers contradict each other"))
	}

	return m, errors.Join(append(h.errs, m.parseSubject(r.Subject))...)
}

// parseSubject reads cdc.<flow>.m, cdc.<flow>.<pp>.b or cdc.<flow>.<pp>.<db>.<coll>.
func (m *message) parseSubject(subject string) error {
	tokens := strings.Split(subject, ".")
	if len(tokens) < 3 || tokens[0] != "cdc" {
		return fmt.Errorf("%q is no subject of a flow", subject)
	}

	tokens = tokens[2:]
	if len(tokens) == 1 && tokens[0] == "m" {
		m.kind = ofMarker

		return nil
	}

	partition, err := strconv.ParseUint(tokens[0], 10, 16)
	if err != nil {
		return fmt.Errorf("%q names no partition", subject)
	}

	m.partition = int(partition)

	switch {
	case len(tokens) == 2 && tokens[1] == "b":
		m.kind = ofBarrier
	case len(tokens) == 3:
		m.ns = strings.TrimSuffix(unescape(tokens[1])+"."+unescape(tokens[2]), ".")
	default:
		return fmt.Errorf("%q is no subject of a flow", subject)
	}

	return nil
}

// unescape reads a name as a subject has it: % and two hexadecimal digits for a byte that a subject cannot have, % alone
// for no name.
func unescape(token string) string {
	var name []byte

	for i := 0; i < len(token); i++ {
		if token[i] != '%' {
			name = append(name, token[i])

			continue
		}

		if i+2 >= len(token) {
			break
		}

		b, err := strconv.ParseUint(token[i+1:i+3], 16, 8)
		if err != nil {
			return token
		}

		name = append(name, byte(b))
		i += 2
	}

	return string(name)
}

// headers reads values and keeps what is wrong with them.
type headers struct {
	values map[string]string
	errs   []error
}

func (h *headers) number(name string, absent uint64) uint64 {
	value, there := h.values[name]
	if !there {
		return absent
	}

	n, err := strconv.ParseUint(value, 10, 63)
	if err != nil {
		h.errs = append(h.errs, fmt.Errorf("%s is %q", name, value))
	}

	return n
}

func (h *headers) part() (part, parts int) {
	value, there := h.values[HeaderPart]
	if !there {
		return 1, 1
	}

	if n, err := fmt.Sscanf(value, "%d/%d", &part, &parts); err != nil || n != 2 || part < 1 || part > parts {
		h.errs = append(h.errs, fmt.Errorf("%s is %q", HeaderPart, value))

		return 1, 1
	}

	return part, parts
}

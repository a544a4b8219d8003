package event

import (
	"encoding/base64"
	"fmt"
	"math"
	"strconv"
	"strings"

	"github.com/nats-io/nats.go"
	"go.mongodb.org/mongo-driver/v2/bson"
)

// Decode reads a message of a flow's stream. It does not copy data. Every error
// wraps ErrMalformed: such a message was not written by a listener.
func Decode(subject string, header nats.Header, data []byte) (Message, error) {
	s, err := ParseSubject(subject)
	if err != nil {
		return Message{}, fmt.Errorf("decode message: %w", err)
	}

	r := headerReader{header: header}

	m := Message{
		Kind:        s.Kind,
		Partition:   s.Partition,
		Namespace:   s.Namespace,
		Pin:         r.pin(s.Kind),
		StreamID:    r.short(HeaderStream),
		Generation:  r.number(HeaderGeneration, 10, math.MaxUint64),
		Writer:      r.required(HeaderWriter, 16),
		Position:    r.position(),
		ResumeToken: r.token(),
		Event:       r.required(HeaderEvent, 10),
		Skipped:     r.number(HeaderSkipped, 10, math.MaxUint64),
		Count:       r.number(HeaderCount, 10, math.MaxUint64),
		Attempt:     max(1, int(r.number(HeaderAttempt, 10, math.MaxInt32))), //nolint:gosec // bounded
		TraceParent: r.traceParent(),
		Payload:     data,
	}

	m.Part, m.Parts = r.part()
	m.Size = int(r.number(HeaderSize, 10, MaxSize)) //nolint:gosec // bounded

	if r.err != nil {
		return Message{}, fmt.Errorf("decode message on %s: %w", subject, r.err)
	}

	if err := m.settleSize(); err != nil {
		return Message{}, fmt.Errorf("decode message on %s: %w", subject, err)
	}

	if m.Skipped > m.Event {
		return Message{}, fmt.Errorf("decode message on %s: %w: %d of %d events skipped", subject, ErrMalformed, m.Skipped, m.Event)
	}

	return m, nil
}

// settleSize checks the payload against parts and size. A marker may be empty
// (protobuf leaves zero values out), an event may not, nor may a barrier.
func (m *Message) settleSize() error {
	n := len(m.Payload)

	switch {
	case n > MaxSize:
		return fmt.Errorf("%w: %d bytes, %d are allowed", ErrMalformed, n, MaxSize)
	case m.Parts > 1 && (m.Kind == KindMarker || m.IsCopy()):
		return fmt.Errorf("%w: a marker or a copy in parts", ErrMalformed)
	case m.Kind != KindMarker && n == 0:
		return fmt.Errorf("%w: no payload", ErrMalformed)
	case m.Parts > 1 && n >= m.Size:
		return fmt.Errorf("%w: part %d/%d of an event of %d bytes has %d", ErrMalformed, m.Part, m.Parts, m.Size, n)
	case m.Parts > 1:
		return nil
	case m.Size != 0 && m.Size != n:
		return fmt.Errorf("%w: %s is %d, the payload has %d bytes", ErrMalformed, HeaderSize, m.Size, n)
	}

	m.Size = n

	return nil
}

// headerReader keeps the first error; after one, all values are zero values.
type headerReader struct {
	header nats.Header
	err    error
}

func (r *headerReader) fail(name, value, reason string) {
	if r.err == nil {
		r.err = fmt.Errorf("%w: %s %.40q %s", ErrMalformed, name, value, reason)
	}
}

// text returns a header's value; empty if it is absent.
func (r *headerReader) text(name string) string {
	values := r.header[name]

	switch len(values) {
	case 0:
		return ""
	case 1:
		return values[0]
	default:
		r.fail(name, values[1], "is a second value")
		return ""
	}
}

// short returns the value of a header that must be there.
func (r *headerReader) short(name string) string {
	value := r.text(name)
	if value == "" || len(value) > maxShortHeader {
		r.fail(name, value, "has no sensible length")
		return ""
	}

	return value
}

func (r *headerReader) required(name string, base int) uint64 {
	if r.text(name) == "" {
		r.fail(name, "", "is missing")
		return 0
	}

	return r.number(name, base, math.MaxUint64)
}

// number returns 0 for an absent header.
func (r *headerReader) number(name string, base int, limit uint64) uint64 {
	value := r.text(name)
	if value == "" {
		return 0
	}

	n, err := strconv.ParseUint(value, base, 64)
	if err != nil || n > limit {
		r.fail(name, value, "is no number in range")
		return 0
	}

	return n
}

// pin returns why the event's collection is pinned; nothing else has a pin.
func (r *headerReader) pin(kind Kind) Pin {
	p, err := ParsePin(r.text(HeaderPinned))
	if err != nil || (p != PinNone && kind != KindEvent) {
		r.fail(HeaderPinned, r.text(HeaderPinned), "is no pin of an event")
		return PinNone
	}

	return p
}

func (r *headerReader) position() Position {
	p, err := ParsePosition(r.short(HeaderPosition))
	if err != nil && r.err == nil {
		r.err = err
	}

	return p
}

func (r *headerReader) token() bson.Raw {
	value := r.text(HeaderResumeToken)

	token, err := base64.RawStdEncoding.Strict().DecodeString(value)
	if err != nil || strings.ContainsAny(value, "\r\n") {
		r.fail(HeaderResumeToken, value, "is not base64")
		return nil
	}

	if CheckDocument(token) != nil {
		r.fail(HeaderResumeToken, value, "is no document")
		return nil
	}

	return token
}

// part returns 1/1 for an absent header.
func (r *headerReader) part() (part, parts int) {
	value := r.text(HeaderPart)
	if value == "" {
		return 1, 1
	}

	number, of, _ := strings.Cut(value, "/")
	i, err1 := strconv.ParseUint(number, 10, 32)
	n, err2 := strconv.ParseUint(of, 10, 32)

	if err1 != nil || err2 != nil || i < 1 || i > n || n > maxParts {
		r.fail(HeaderPart, value, "is no part of a whole")
		return 1, 1
	}

	return int(i), int(n)
}

// traceParent takes any case of the name: W3C Trace Context has it lower case,
// libraries for HTTP write it in their own. A trace is no reason to refuse a
// message: what cannot be one is left out.
func (r *headerReader) traceParent() string {
	values, ok := r.header[HeaderTraceParent]
	if !ok {
		for name, other := range r.header {
			if strings.EqualFold(name, HeaderTraceParent) {
				values = other
			}
		}
	}

	if len(values) != 1 || len(values[0]) > maxShortHeader {
		return ""
	}

	return values[0]
}

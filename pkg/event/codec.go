package event

import (
	"encoding/base64"
	"errors"
	"fmt"
	"strconv"

	"github.com/nats-io/nats.go"
	"go.mongodb.org/mongo-driver/v2/bson"
)

// Names of the headers. Nats-Msg-Id and Nats-Expected-Last-Msg-Id are the
// server's; the others are ours and change only by adding. A header that has
// nothing to say is left out: a generation, skipped or count of 0, the part and
// size of an event that fits one message, attempt 1, the pin of a collection that
// is not pinned, an absent trace.
const (
	HeaderStream      = "Relay-Stream"
	HeaderGeneration  = "Relay-Generation"   // decimal
	HeaderWriter      = "Relay-Writer"       // hexadecimal
	HeaderPosition    = "Relay-Position"     // T.I.ordinal
	HeaderResumeToken = "Relay-Resume-Token" //nolint:gosec // a name; base64 without padding of the whole token document
	HeaderEvent       = "Relay-Event"        // decimal
	HeaderSkipped     = "Relay-Skipped"      // decimal
	HeaderCount       = "Relay-Count"        // decimal
	HeaderPart        = "Relay-Part"         // i/n
	HeaderSize        = "Relay-Size"         // decimal, bytes
	HeaderAttempt     = "Relay-Attempt"      // decimal
	HeaderPinned      = "Relay-Pinned"       // collation, capped
	HeaderTraceParent = "traceparent"
)

const (
	headerMsgID         = "Nats-Msg-Id"
	headerExpectedMsgID = "Nats-Expected-Last-Msg-Id"
	headerCount         = 15 // these and those above
)

const (
	// HeaderReserve is how many bytes of a NATS message are kept free for
	// headers when an event is cut into parts, beside the resume token. They
	// need less than 1 KiB.
	HeaderReserve = 4 << 10

	// MaxSize is the largest event that Decode takes, in bytes. MongoDB's
	// events are at most 16 MiB a fragment; NATS refuses a max_payload above
	// 64 MiB.
	MaxSize = 64 << 20

	// MaxPart is the largest payload of a message, whatever the server allows:
	// a reader has room for several.
	MaxPart = 32 << 20

	// minPart bounds the number of parts: MaxSize / minPart.
	minPart  = 1 << 10
	maxParts = MaxSize / minPart

	maxShortHeader = 128 // bytes of a stream id or a traceparent
)

// ErrPayloadLimit is wrapped when the NATS server's max_payload leaves no room
// for events beside the headers. An operator has to raise it.
var ErrPayloadLimit = errors.New("max_payload of the NATS server is too small")

// Encode returns the NATS message of m in the flow. previousID is the id of the
// message that must be the stream's last for this one to be accepted; empty
// leaves the check out (batch mode, message 1). The payload is not copied.
func Encode(flow string, m *Message, previousID string) *nats.Msg {
	w := newMessageWriter(len(flow) + len(m.Namespace.DB) + len(m.Namespace.Coll) +
		len(m.StreamID) + base64.RawStdEncoding.EncodedLen(len(m.ResumeToken)))

	switch m.Kind {
	case KindMarker:
		w.text = append(w.text, MarkerSubject(flow)...)
	case KindBarrier:
		w.text = appendBarrierSubject(w.text, flow, m.Partition)
	case KindEvent:
		w.text = appendEventSubject(w.text, flow, m.Partition, m.Namespace)
	}

	w.end("")

	w.text = m.appendID(w.text)
	w.end(headerMsgID)
	w.string(headerExpectedMsgID, previousID)
	w.string(HeaderStream, m.StreamID)
	w.number(HeaderGeneration, m.Generation)

	w.text = strconv.AppendUint(w.text, m.Writer, 16)
	w.end(HeaderWriter)

	w.text = m.Position.appendTo(w.text)
	w.end(HeaderPosition)

	w.text = base64.RawStdEncoding.AppendEncode(w.text, m.ResumeToken)
	w.end(HeaderResumeToken)

	w.text = strconv.AppendUint(w.text, m.Event, 10)
	w.end(HeaderEvent)

	w.number(HeaderSkipped, m.Skipped)
	w.number(HeaderCount, m.Count)

	if m.Parts > 1 {
		w.text = strconv.AppendInt(w.text, int64(m.Part), 10)
		w.text = append(w.text, '/')
		w.text = strconv.AppendInt(w.text, int64(m.Parts), 10)
		w.end(HeaderPart)
		w.number(HeaderSize, uint64(m.Size)) //nolint:gosec // never negative
	}

	if m.Attempt > 1 {
		w.number(HeaderAttempt, uint64(m.Attempt))
	}

	w.string(HeaderPinned, m.Pin.String())
	w.string(HeaderTraceParent, m.TraceParent)

	return w.message(m.Payload)
}

// messageWriter collects the subject and all values in one text, so that they
// cost the same few allocations whatever their number.
type messageWriter struct {
	text  []byte
	names [1 + headerCount]string // of the subject, which comes first: empty
	ends  [1 + headerCount]int
	n     int
}

// newMessageWriter makes room for a subject and values of which those without a
// small bound take this many bytes.
func newMessageWriter(size int) messageWriter {
	return messageWriter{text: make([]byte, 0, size+320)}
}

// end gives the text since the last end to the header of this name.
func (w *messageWriter) end(name string) {
	w.names[w.n], w.ends[w.n] = name, len(w.text)
	w.n++
}

// number leaves 0 out.
func (w *messageWriter) number(name string, n uint64) {
	if n == 0 {
		return
	}

	w.text = strconv.AppendUint(w.text, n, 10)
	w.end(name)
}

// string leaves the empty one out.
func (w *messageWriter) string(name, value string) {
	if value == "" {
		return
	}

	w.text = append(w.text, value...)
	w.end(name)
}

func (w *messageWriter) message(payload []byte) *nats.Msg {
	var (
		text   = string(w.text)
		values = make([]string, w.n)
		header = make(nats.Header, w.n-1)
	)

	for i := 1; i < w.n; i++ {
		values[i] = text[w.ends[i-1]:w.ends[i]]
		header[w.names[i]] = values[i : i+1 : i+1] // an appending reader must not reach the next
	}

	return &nats.Msg{Subject: text[:w.ends[0]], Header: header, Data: payload}
}

// Split cuts an event's bytes into payloads of at most limit bytes, which is
// what PartLimit returned. It returns at least one and does not copy.
func Split(raw []byte, limit int) [][]byte {
	parts := make([][]byte, 0, max(1, (len(raw)+limit-1)/limit))

	for len(raw) > limit {
		parts = append(parts, raw[:limit:limit])
		raw = raw[limit:]
	}

	return append(parts, raw)
}

// PartLimit returns how many payload bytes fit a message of a server whose
// max_payload is given, beside headers and a token of this length. The token of
// a document with a large _id is twice as long as the _id. Errors wrap
// ErrPayloadLimit: less than 1 KiB would be left. It is at most MaxPart.
func PartLimit(maxPayload int64, token bson.Raw) (int, error) {
	reserve := int64(HeaderReserve + base64.RawStdEncoding.EncodedLen(len(token)))

	if maxPayload < reserve+minPart {
		return 0, fmt.Errorf("%w: it is %d bytes, and an event with a resume token of %d bytes needs %d",
			ErrPayloadLimit, maxPayload, len(token), reserve+minPart)
	}

	return int(min(maxPayload-reserve, MaxPart)), nil
}

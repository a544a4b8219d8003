package natsmodel

import (
	"encoding/json"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// Codes of the server's refusals (server/errors.json of nats-server).
const (
	codeWrongLastSequence = 10071
	codeWrongLastID       = 10070
	codeStoreFailed       = 10077
	codeBatchIncomplete   = 10176
	codeBatchDuplicate    = 10201
)

const (
	headerBatchID       = "Nats-Batch-Id"
	headerBatchSequence = "Nats-Batch-Sequence"
	headerBatchCommit   = "Nats-Batch-Commit"
)

// Stored is a message of the stream.
type Stored struct {
	Sequence uint64
	Msg      *nats.Msg // nobody changes it
	At       time.Time
}

func (s *Stored) size() int64 { return int64(s.Msg.Size()) + 30 }

// Stream is the stream of a flow. Not for concurrent use, save reading.
type Stream struct {
	config jetstream.StreamConfig

	messages  []*Stored // in order; some may be missing amid them
	last      uint64    // sequence of the last one that was stored
	bytes     int64
	lastID    string               // that a chained message has to name
	ids       map[string]duplicate // of messages not older than the duplicate window
	lost      []uint64             // sequences that could not be read
	batches   map[string][]*nats.Msg
	consumers map[string]*Consumer
}

type duplicate struct {
	sequence uint64
	at       time.Time
}

func newStream(config jetstream.StreamConfig) *Stream {
	return &Stream{config: config, ids: map[string]duplicate{}, batches: map[string][]*nats.Msg{}, consumers: map[string]*Consumer{}}
}

// pubAck is what the server answers to a publish.
type pubAck struct {
	Stream    string              `json:"stream,omitempty"`
	Sequence  uint64              `json:"seq,omitempty"`
	Duplicate bool                `json:"duplicate,omitempty"`
	Error     *jetstream.APIError `json:"error,omitempty"`
}

func (a *pubAck) encode() []byte {
	text, _ := json.Marshal(a) // of plain fields

	return text
}

func refused(code jetstream.ErrorCode, why string) []byte {
	return (&pubAck{Error: &jetstream.APIError{Code: 400, ErrorCode: code, Description: why}}).encode()
}

// Publish is the arrival of a message; it returns the answer, which goes nowhere
// unless the message asks for one. Empty: more of its batch is awaited.
func (s *Stream) Publish(now time.Time, msg *nats.Msg) []byte {
	if id := msg.Header.Get(headerBatchID); id != "" {
		return s.stage(now, id, msg)
	}

	return s.store(now, msg)
}

// store takes one message. The server tests the last sequence, then for duplicates, and
// then the last id (stream.go of nats-server 2.15, processJetStreamMsg).
func (s *Stream) store(now time.Time, msg *nats.Msg) []byte {
	if answer := s.checkSequence(msg); answer != nil {
		return answer
	}

	if sequence := s.duplicate(now, msg); sequence > 0 {
		return (&pubAck{Stream: s.config.Name, Sequence: sequence, Duplicate: true}).encode()
	}

	if answer := s.check(msg); answer != nil {
		return answer
	}

	m := s.append(now, msg)

	return (&pubAck{Stream: s.config.Name, Sequence: m.Sequence}).encode()
}

// duplicate is the sequence of the message with the same id; 0: the server knows none.
func (s *Stream) duplicate(now time.Time, msg *nats.Msg) uint64 {
	id := msg.Header.Get(jetstream.MsgIDHeader)
	if d, known := s.ids[id]; known && id != "" && now.Sub(d.at) < s.config.Duplicates {
		return d.sequence
	}

	return 0
}

// checkSequence refuses a message that does not follow the sequence that it names.
func (s *Stream) checkSequence(msg *nats.Msg) []byte {
	if want := msg.Header.Get(jetstream.ExpectedLastSeqHeader); want != "" && want != strconv.FormatUint(s.last, 10) {
		return refused(codeWrongLastSequence, "wrong last sequence: "+strconv.FormatUint(s.last, 10))
	}

	return nil
}

// check refuses a message that does not follow the id that it names, or has no room.
func (s *Stream) check(msg *nats.Msg) []byte {
	if want := msg.Header.Get(jetstream.ExpectedLastMsgIDHeader); want != "" && want != s.lastID {
		return refused(codeWrongLastID, "wrong last msg ID: "+s.lastID)
	}

	if limit := s.config.MaxBytes; limit > 0 && s.bytes+(&Stored{Msg: msg}).size() > limit {
		return refused(codeStoreFailed, "maximum bytes exceeded")
	}

	return nil
}

func (s *Stream) append(now time.Time, msg *nats.Msg) *Stored {
	s.last++
	m := &Stored{Sequence: s.last, Msg: msg, At: now}
	s.messages = append(s.messages, m)
	s.bytes += m.size()

	id := msg.Header.Get(jetstream.MsgIDHeader)
	s.lastID = id

	if id != "" {
		s.ids[id] = duplicate{sequence: s.last, at: now}
	}

	return m
}

// stage takes a message of an atomic batch: all of it is stored with its last one, or
// nothing.
func (s *Stream) stage(now time.Time, id string, msg *nats.Msg) []byte {
	if msg.Header.Get(headerBatchSequence) == "1" {
		s.batches[id] = nil
	}

	if strconv.Itoa(len(s.batches[id])+1) != msg.Header.Get(headerBatchSequence) {
		delete(s.batches, id)

		return refused(codeBatchIncomplete, "atomic publish batch is incomplete")
	}

	s.batches[id] = append(s.batches[id], msg)
	if msg.Header.Get(headerBatchCommit) == "" {
		return []byte{}
	}

	batch := s.batches[id]
	delete(s.batches, id)

	if slices.ContainsFunc(batch, func(m *nats.Msg) bool { return s.duplicate(now, m) > 0 }) {
		return refused(codeBatchDuplicate, "atomic publish batch contains duplicate message id")
	}

	if answer := s.checkSequence(batch[0]); answer != nil {
		return answer
	}

	if answer := s.check(batch[0]); answer != nil {
		return answer
	}

	for _, m := range batch {
		s.append(now, m)
	}

	return (&pubAck{Stream: s.config.Name, Sequence: s.last}).encode()
}

// Last is the sequence of the last message that was stored.
func (s *Stream) Last() uint64 { return s.last }

// Messages are those that the stream has, in order. Nobody may change them.
func (s *Stream) Messages() []*Stored { return s.messages }

// SetMaxBytes changes the limit; 0: none.
func (s *Stream) SetMaxBytes(limit int64) { s.config.MaxBytes = limit }

// Bytes is what the messages take.
func (s *Stream) Bytes() int64 { return s.bytes }

// at returns the message with this sequence, nil when there is none.
func (s *Stream) at(sequence uint64) *Stored {
	if i := s.search(sequence); i < len(s.messages) && s.messages[i].Sequence == sequence {
		return s.messages[i]
	}

	return nil
}

// search is the index of the first message at or behind the sequence.
func (s *Stream) search(sequence uint64) int {
	i, _ := slices.BinarySearchFunc(s.messages, sequence, func(m *Stored, sequence uint64) int {
		switch {
		case m.Sequence < sequence:
			return -1
		case m.Sequence > sequence:
			return 1
		default:
			return 0
		}
	})

	return i
}

// next returns the first message of a subject at or behind the sequence.
func (s *Stream) next(sequence uint64, filter string) *Stored {
	for _, m := range s.messages[s.search(sequence):] {
		if matches(filter, m.Msg.Subject) {
			return m
		}
	}

	return nil
}

// lastOf returns the last message of a subject. Of all, that is the one with the last
// sequence (filestore.go of nats-server, LoadLastMsg).
func (s *Stream) lastOf(filter string) *Stored {
	if filter == ">" {
		return s.at(s.last)
	}

	for _, m := range slices.Backward(s.messages) {
		if matches(filter, m.Msg.Subject) {
			return m
		}
	}

	return nil
}

// matches knows whole subjects, and filters that end in ">".
func matches(filter, subject string) bool {
	if prefix, ok := strings.CutSuffix(filter, ">"); ok {
		return strings.HasPrefix(subject, prefix)
	}

	return filter == subject
}

// state is what the server says of the stream.
func (s *Stream) state() jetstream.StreamState {
	state := jetstream.StreamState{Msgs: uint64(len(s.messages)), Bytes: uint64(max(s.bytes, 0)), LastSeq: s.last, FirstSeq: s.last + 1}

	if len(s.messages) > 0 {
		state.FirstSeq = s.messages[0].Sequence
		state.LastTime = s.messages[len(s.messages)-1].At
		state.NumDeleted = int(s.last - state.FirstSeq + 1 - state.Msgs)
	}

	return state
}

// restart is what a start of the server makes of the stream, whose last messages are
// gone.
func (s *Stream) restart(gone int) {
	gone = max(min(gone, len(s.messages)-1), 0) // message 1 was synced long ago

	for _, m := range s.messages[len(s.messages)-gone:] {
		s.bytes -= m.size()
	}

	s.messages = s.messages[:len(s.messages)-gone]
	s.batches = map[string][]*nats.Msg{}

	if gone > 0 {
		s.last = s.messages[len(s.messages)-1].Sequence
	}

	s.ids = map[string]duplicate{}

	for _, m := range s.messages {
		if id := m.Msg.Header.Get(jetstream.MsgIDHeader); id != "" {
			s.ids[id] = duplicate{sequence: m.Sequence, at: m.At}
		}
	}

	// The server looks for the message with the last sequence that it remembers, and for no
	// other (stream.go of nats-server, rebuildDedupe).
	s.lastID = ""
	if m := s.at(s.last); m != nil {
		s.lastID = m.Msg.Header.Get(jetstream.MsgIDHeader)
	}
}

// Damage makes the messages between two sequences, both included, unreadable: a block
// that was hit. Those at the head only move the first sequence.
func (s *Stream) Damage(from, to uint64) (lost int) {
	s.messages = slices.DeleteFunc(s.messages, func(m *Stored) bool {
		hit := m.Sequence >= from && m.Sequence <= to
		if hit {
			s.bytes -= m.size()
			s.lost = append(s.lost, m.Sequence)
			lost++
		}

		return hit
	})

	return lost
}

// Consumer hands the messages of a partition out, in order.
type Consumer struct {
	jetstream.Consumer // what the relay does not call

	stream    *Stream
	config    jetstream.ConsumerConfig
	next      uint64 // sequence of the stream
	delivered uint64
	deleted   bool
}

func (s *Stream) createConsumer(config jetstream.ConsumerConfig) *Consumer {
	c := &Consumer{stream: s, config: config, next: config.OptStartSeq}
	s.consumers[config.Name] = c

	return c
}

// Deliver sends the next message on its way; nil: there is none. gone tells that the
// consumer was deleted.
func (c *Consumer) Deliver() (msg *Delivery, gone bool) {
	if c.deleted || c.stream.consumers[c.config.Name] != c {
		return nil, true
	}

	m := c.stream.next(c.next, c.config.FilterSubject)
	if m == nil {
		return nil, false
	}

	c.next = m.Sequence + 1
	c.delivered++

	return &Delivery{stored: m, consumer: c.delivered, stream: c.stream.config.Name, name: c.config.Name}, false
}

// Delivery is a message on its way to a reader.
type Delivery struct {
	jetstream.Msg // what the relay does not call

	stored       *Stored
	consumer     uint64
	stream, name string
}

// Metadata implements jetstream.Msg.
func (d *Delivery) Metadata() (*jetstream.MsgMetadata, error) {
	return &jetstream.MsgMetadata{
		Sequence:  jetstream.SequencePair{Consumer: d.consumer, Stream: d.stored.Sequence},
		Timestamp: d.stored.At, Stream: d.stream, Consumer: d.name, NumDelivered: 1,
	}, nil
}

// Data implements jetstream.Msg.
func (d *Delivery) Data() []byte { return d.stored.Msg.Data }

// Headers implements jetstream.Msg.
func (d *Delivery) Headers() nats.Header { return d.stored.Msg.Header }

// Subject implements jetstream.Msg.
func (d *Delivery) Subject() string { return d.stored.Msg.Subject }

// Ack implements jetstream.Msg. The checkpoint decides what is applied: nothing
// depends on what the server makes of it.
func (*Delivery) Ack() error { return nil }

// DeliveryOf is a stored message as a reader of all of a subject gets it.
func DeliveryOf(m *Stored) *Delivery { return &Delivery{stored: m, consumer: m.Sequence} }

// Has tells whether the stream has a message with this sequence.
func (s *Stream) Has(sequence uint64) bool { return s.at(sequence) != nil }

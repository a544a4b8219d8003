package verify

import (
	"fmt"
	"slices"

	"github.com/atlas-relay/atlas-relay/e2e/history"
)

// StreamError is something that the rule of the stream does not allow.
type StreamError struct {
	Kind string
	Text string
}

// Error implements error.
func (v *StreamError) Error() string { return v.Text }

func wrong(kind, format string, args ...any) *StreamError {
	return &StreamError{Kind: kind, Text: fmt.Sprintf(format, args...)}
}

// StreamOptions says what a flow's stream may have.
type StreamOptions struct {
	Partitions int
	// Batch says that messages do not name the one before them: the stream is published in atomic batches.
	Batch bool
	// LosesTail allows that messages at the end are gone and others have taken their place.
	LosesTail bool
	// Successors are ids of streams that took the place of one that is gone, which somebody has accepted.
	Successors []string
}

// Stream is the rule of I5: each event of the source is in the stream once, in the source's order, with numbers that have
// no gap, in the stream and in each partition; right before a schema change stand its copies for all other partitions;
// each message names the one before it, by its number where the server may have lost that one. A purged stream is judged
// from its first message on.
type Stream struct {
	Events  uint64
	Writers map[string]bool

	o       StreamOptions
	begun   bool
	last    message
	highest uint64            // generation that the stream ever had
	lastID  map[uint64]string // ids by sequence, of the messages that could become the last one again

	lanes   []assembly
	copies  []message // that stand right before the next message
	adopt   bool      // the next numbers are taken as they are
	blind   bool      // copies before the next message may not have been seen
	number  uint64    // of the last event
	skipped uint64    // of them, left out by the listener
	at      position  // of the last event
	tokens  map[uint64]uint64
}

// assembly is what is known of a partition.
type assembly struct {
	known bool // its count is that of the stream
	count uint64
	part  message // last part of an event that is not whole yet; part is 0 while there is none
	size  int     // bytes of its parts
}

// NewStream returns the rule before the first message.
func NewStream(o StreamOptions) *Stream {
	return &Stream{o: o, Writers: map[string]bool{}, lanes: make([]assembly, o.Partitions), lastID: map[uint64]string{}, tokens: map[uint64]uint64{}}
}

// Add takes the next message and returns the first thing that is wrong with it; what follows is judged as if it were
// right. The error is a *StreamError.
func (s *Stream) Add(r *history.Message) error {
	_, v := s.add(r)
	if v != nil {
		return v
	}

	return nil
}

func (s *Stream) add(r *history.Message) (message, *StreamError) {
	m, err := parseMessage(r)
	if err != nil {
		s.resume(r.Sequence, r.Header[HeaderID])

		return m, wrong("malformed", "message %d was written by no listener: %v", r.Sequence, err)
	}

	if m.partition >= len(s.lanes) {
		s.resume(m.sequence, m.id)

		return m, wrong("malformed", "message %d is of partition %d, the stream has %d", m.sequence, m.partition, len(s.lanes))
	}

	v := s.follows(&m)
	if own := s.judge(&m); v == nil {
		v = own
	}

	s.begun, s.last, s.adopt, s.blind = true, m, false, s.blind && m.isCopy()
	s.highest = max(s.highest, m.generation)
	s.lastID[m.sequence] = m.id
	delete(s.lastID, m.sequence-mostLost)

	return m, v
}

// mostLost is how many messages at the end of a stream may be lost at once so that the rule still knows the one before.
const mostLost = 1 << 17

// resume goes on behind a message that cannot be read.
func (s *Stream) resume(sequence uint64, id string) {
	s.begun, s.last.sequence, s.adopt, s.blind = true, sequence, true, true
	s.lastID[sequence] = id
}

// follows judges the place of a message: identity, sequence, the id chain, the generation.
func (s *Stream) follows(m *message) (v *StreamError) {
	switch {
	case !s.begun:
		s.start(m)
	case m.stream != s.last.stream && slices.Contains(s.o.Successors, m.stream):
		s.forget()
		s.start(m)
	case m.stream != s.last.stream:
		v = wrong("another stream", "message %d is of stream %s, the one before of %s, and nobody has accepted that", m.sequence, m.stream, s.last.stream)
		s.forget()
	case m.sequence > s.last.sequence+1:
		v = wrong("hole", "messages %d to %d are missing in the stream", s.last.sequence+1, m.sequence-1)
		s.forget()
	case m.sequence <= s.last.sequence:
		if !s.o.LosesTail {
			v = wrong("tail replaced", "message %d came again as another one: the end of the stream was lost, and nothing that was broken explains it", m.sequence)
		}

		s.forget()
	}

	if chained := s.chain(m); v == nil {
		v = chained
	}

	if m.generation != s.last.generation && s.begun && !s.adopt {
		if !s.begins(m) {
			v = wrong("generation", "message %d is of generation %d behind one of %d, and no marker begins it", m.sequence, m.generation, s.last.generation)
		}

		s.forget()

		for i := range s.lanes {
			s.lanes[i] = assembly{known: true}
		}

		clear(s.tokens)
	}

	return v
}

// begins tells whether a message begins the next generation. One that the stream has lost leaves its number out: there may be
// checkpoints of it.
func (s *Stream) begins(m *message) bool {
	next := s.last.generation + 1
	if s.o.LosesTail {
		next = max(next, s.highest+1)
	}

	return m.kind == ofMarker && m.generation > s.last.generation && m.generation <= next
}

// start begins a stream: message 1 knows that nothing came before it.
func (s *Stream) start(m *message) {
	if m.sequence > 1 {
		s.forget()

		return
	}

	for i := range s.lanes {
		s.lanes[i] = assembly{known: true}
	}

	s.number, s.skipped, s.at, s.highest = 0, 0, position{}, 0
	s.adopt = m.kind == ofMarker // a stream that replaces another counts on
	clear(s.tokens)
}

// forget makes the next numbers what the following ones are judged by.
func (s *Stream) forget() {
	s.adopt, s.blind, s.copies = true, true, nil
	for i := range s.lanes {
		s.lanes[i] = assembly{}
	}

	clear(s.tokens)
}

// chain judges the id that a message names.
func (s *Stream) chain(m *message) *StreamError {
	before, known := s.lastID[m.sequence-1]

	switch {
	case s.o.Batch || !known || m.sequence == 1:
		return nil
	case s.o.LosesTail && m.expected == "" && m.behind == m.sequence-1:
		return nil // the server knew the number of a message that it had lost, and no id
	case m.expected != before:
		return wrong("chain", "message %d names %q as the one before it, which is %q", m.sequence, m.expected, before)
	default:
		return nil
	}
}

// judge judges the numbers of a message.
func (s *Stream) judge(m *message) *StreamError {
	if s.adopt {
		s.number, s.skipped, s.at = m.event, m.skipped, m.at
		if m.kind != ofMarker {
			s.number--
			s.at = position{}
		}
	}

	if m.kind == ofMarker {
		s.copies = nil

		return s.counts(m, 0)
	}

	s.Writers[m.writer] = true

	if m.isCopy() {
		return s.copy(m)
	}

	v := s.complete(m)
	if parts := s.assemble(m); v == nil {
		v = parts
	}

	if m.part < m.parts {
		return v
	}

	for _, next := range []*StreamError{s.counts(m, 1), s.laneCounts(m), s.order(m)} {
		if v == nil {
			v = next
		}
	}

	s.Events++

	return v
}

// counts judges the running numbers: what is neither this event nor left out is missing.
func (s *Stream) counts(m *message, own uint64) (v *StreamError) {
	if m.event-s.number != m.skipped-s.skipped+own {
		v = wrong("number", "message %d is event %d with %d left out, behind event %d with %d", m.sequence, m.event, m.skipped, s.number, s.skipped)
	}

	s.number, s.skipped = m.event, m.skipped

	return v
}

// laneCounts judges the running number of a partition.
func (s *Stream) laneCounts(m *message) (v *StreamError) {
	l := &s.lanes[m.partition]
	if l.known && m.count != l.count+1 {
		v = wrong("count", "message %d: partition %d: count %d after %d", m.sequence, m.partition, m.count, l.count)
	}

	l.known, l.count = true, m.count

	return v
}

// order judges that an event comes behind all before it, and once.
func (s *Stream) order(m *message) (v *StreamError) {
	first, again := s.tokens[m.token]

	switch {
	case again:
		v = wrong("token twice", "message %d carries the resume token of message %d", m.sequence, first)
	case m.at.compare(s.at) <= 0:
		v = wrong("position", "message %d is at position %s, behind %s", m.sequence, m.at, s.at)
	}

	s.tokens[m.token], s.at = m.sequence, m.at

	return v
}

// assemble judges the parts of an event: anything but the next part of the same attempt begins anew.
func (s *Stream) assemble(m *message) (v *StreamError) {
	l := &s.lanes[m.partition]
	before := l.part

	switch next := before.part == m.part-1 && before.parts == m.parts && before.attempt == m.attempt && before.event == m.event &&
		before.at == m.at && before.size == m.size && before.count == m.count; {
	case m.part == 1:
		l.size = 0
	case !next && l.known:
		v = wrong("part", "message %d is part %d of %d of event %d, attempt %d; the part before it was not seen", m.sequence, m.part, m.parts, m.event, m.attempt)
	case !next:
		l.size = m.size - m.payload // the parts before are not known
	}

	l.size += m.payload

	if v == nil && m.part == m.parts && l.size != m.size {
		v = wrong("size", "message %d completes an event of %d bytes with %d", m.sequence, m.size, l.size)
	}

	if l.part = *m; m.part == m.parts {
		l.part = message{}
	}

	return v
}

// copy takes in what a schema change tells another partition. It is no event: a listener that was stopped before the
// change itself tells all of them again.
func (s *Stream) copy(m *message) (v *StreamError) {
	l := &s.lanes[m.partition]

	switch {
	case l.known && m.count != l.count:
		v = wrong("copy", "message %d: partition %d: a copy has count %d after %d", m.sequence, m.partition, m.count, l.count)
	case m.at.compare(s.at) <= 0:
		v = wrong("copy", "message %d: partition %d: a copy of a schema change at %s after %s", m.sequence, m.partition, m.at, s.at)
	case m.event <= s.number:
		v = wrong("copy", "message %d: partition %d: a copy of event %d after event %d", m.sequence, m.partition, m.event, s.number)
	}

	l.known, l.count = true, m.count

	if last := len(s.copies) - 1; last >= 0 && s.copies[last].partition != m.partition+1 {
		s.copies = nil // another attempt
	}

	s.copies = append(s.copies, *m)

	return v
}

// complete judges that in front of a schema change stand the copies of the same attempt, from the last partition down to
// 1, and nowhere else.
func (s *Stream) complete(m *message) *StreamError {
	copies := s.copies
	s.copies = nil

	if m.kind != ofBarrier || m.part > 1 || s.blind {
		return nil // copies of a change that never came: the filter has removed it
	}

	if len(copies) != len(s.lanes)-1 {
		return wrong("copies", "message %d: schema change, event %d: %d of %d copies", m.sequence, m.event, len(copies), len(s.lanes)-1)
	}

	for i := range copies {
		c := &copies[i]
		if c.partition != len(s.lanes)-1-i || c.event != m.event || c.at != m.at || c.attempt != m.attempt {
			return wrong("copies", "message %d: schema change, event %d at %s, attempt %d: partition %d was told of event %d at %s, attempt %d",
				m.sequence, m.event, m.at, m.attempt, c.partition, c.event, c.at, c.attempt)
		}
	}

	return nil
}

package live

import (
	"context"
	"fmt"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/atlas-relay/atlas-relay/pkg/event"
	"github.com/atlas-relay/atlas-relay/pkg/topology"
)

// Stream reads a flow's whole stream and says what is wrong with it: each event of the source must be there once, in
// the source's order, with numbers that have no gap, in the stream and in each partition; right before a schema change
// stand its copies for all other partitions. It returns how many events it
// holds, and how many processes have written them. A purged stream is checked from its first message on.
func Stream(ctx context.Context, js jetstream.JetStream, flow string) (events uint64, writers int, err error) {
	stream, err := topology.Open(ctx, js, flow)
	if err != nil {
		return 0, 0, err
	}

	state, _, err := stream.State(ctx)
	if err != nil {
		return 0, 0, err
	}

	r := newReader(stream.Partitions)
	r.purged = state.FirstSeq > 1

	for sequence := state.FirstSeq; sequence <= state.LastSeq; sequence++ {
		m, err := stream.At(ctx, sequence)
		if err != nil {
			return 0, 0, err
		}

		if err := r.add(&m.Message); err != nil {
			return 0, 0, fmt.Errorf("message %d of stream %s: %w", sequence, stream.Name(), err)
		}
	}

	return r.events, len(r.writers), nil
}

// reader checks one message after the other.
type reader struct {
	assemblers []event.Assembler
	counts     []uint64
	copies     []event.Message // that stand right before the next message
	number     uint64          // of the last event
	skipped    uint64          // of them left out by the listener
	last       event.Position  // of the last event
	events     uint64
	purged     bool // the stream does not begin with message 1
	begun      bool // a message has been seen
	writers    map[uint64]bool
}

func newReader(partitions int) *reader {
	return &reader{assemblers: make([]event.Assembler, partitions), counts: make([]uint64, partitions), writers: map[uint64]bool{}}
}

func (r *reader) add(m *event.Message) error {
	if r.purged && !r.begun {
		r.begin(m)
	}

	r.begun = true

	if m.Kind == event.KindMarker {
		r.copies = nil

		return r.follows(m.Event, m.Skipped, 0)
	}

	r.writers[m.Writer] = true

	if m.IsCopy() {
		return r.addCopy(m)
	}

	if err := r.checkCopies(m); err != nil {
		return err
	}

	whole, complete, err := r.assemblers[m.Partition].Add(*m)
	if err != nil || !complete {
		return err
	}

	if err := r.follows(whole.Event, whole.Skipped, 1); err != nil {
		return err
	}

	if r.purged && r.counts[m.Partition] == 0 { // what came before is gone
		r.counts[m.Partition] = whole.Count - 1
	}

	if whole.Count != r.counts[m.Partition]+1 {
		return fmt.Errorf("partition %d: count %d after %d", m.Partition, whole.Count, r.counts[m.Partition])
	}

	if whole.Position.Compare(r.last) <= 0 {
		return fmt.Errorf("position %s after %s", whole.Position, r.last)
	}

	r.counts[m.Partition], r.last = whole.Count, whole.Position
	r.events++

	return nil
}

// addCopy takes in what a schema change tells another partition. It is no event: a listener that was stopped before the
// change itself tells all of them again.
func (r *reader) addCopy(m *event.Message) error {
	if r.purged && r.counts[m.Partition] == 0 { // what came before is gone
		r.counts[m.Partition] = m.Count
	}

	switch {
	case m.Count != r.counts[m.Partition]:
		return fmt.Errorf("partition %d: a copy has count %d after %d", m.Partition, m.Count, r.counts[m.Partition])
	case m.Position.Compare(r.last) <= 0:
		return fmt.Errorf("partition %d: a copy of a schema change at %s after %s", m.Partition, m.Position, r.last)
	case m.Event <= r.number:
		return fmt.Errorf("partition %d: a copy of event %d after event %d", m.Partition, m.Event, r.number)
	}

	if last := len(r.copies) - 1; last >= 0 && r.copies[last].Partition != m.Partition+1 {
		r.copies = nil // another attempt
	}

	r.copies = append(r.copies, *m)

	return nil
}

// checkCopies: in front of a schema change stand the copies of the same attempt, from the last partition down to 1, and
// nowhere else.
func (r *reader) checkCopies(m *event.Message) error {
	copies := r.copies
	r.copies = nil

	if m.Kind != event.KindBarrier || m.Part > 1 {
		return nil // copies of a change that never came: the filter has removed it
	}

	if len(copies) != len(r.counts)-1 {
		return fmt.Errorf("schema change, event %d: %d of %d copies", m.Event, len(copies), len(r.counts)-1)
	}

	for i := range copies {
		c := &copies[i]
		if c.Partition != len(r.counts)-1-i || c.Event != m.Event || c.Position != m.Position || c.Attempt != m.Attempt {
			return fmt.Errorf("schema change, event %d at %s, attempt %d: partition %d was told of event %d at %s, attempt %d",
				m.Event, m.Position, m.Attempt, c.Partition, c.Event, c.Position, c.Attempt)
		}
	}

	return nil
}

// begin makes the first message of a purged stream one that follows.
func (r *reader) begin(m *event.Message) {
	r.number, r.skipped = m.Event, m.Skipped
	if m.Kind != event.KindMarker {
		r.number--
	}
}

// follows checks the running numbers: what is neither this event nor left out is missing.
func (r *reader) follows(number, skipped, own uint64) error {
	if number-r.number != skipped-r.skipped+own {
		return fmt.Errorf("event %d, of them %d left out, after %d and %d", number, skipped, r.number, r.skipped)
	}

	r.number, r.skipped = number, skipped

	return nil
}

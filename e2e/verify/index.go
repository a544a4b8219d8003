package verify

import (
	"fmt"
	"slices"

	"github.com/atlas-relay/atlas-relay/e2e/history"
)

// stored is a message as a checkpoint may name it.
type stored struct {
	event, count, generation uint64
	at                       position
	kind                     kind
	partition                int
}

// streamIndex finds messages by sequence.
type streamIndex struct {
	id       string // of the stream that is there at the end
	messages map[uint64]stored
	first    uint64
	last     uint64
	replaced uint64 // messages from this sequence on have been others before; 0 for none
	rewound  bool   // a generation has followed another
}

// readStream judges the stream (I5) and puts its events into their partitions.
func (m *model) readStream() error {
	o := StreamOptions{Partitions: m.meta.Partitions, Batch: m.meta.Publish == "batch", LosesTail: m.losesTail()}

	for i := range m.gaps {
		if m.gaps[i].replacedBy != "" {
			o.Successors = append(o.Successors, m.gaps[i].replacedBy)
		}
	}

	rule := NewStream(o)
	m.stream.messages = map[uint64]stored{}

	err := history.Each(m.folder, history.StreamFile, func(r *history.Message) error {
		read, v := rule.add(r)
		if v != nil {
			m.holes = m.holes || v.Kind == "hole" || v.Kind == "malformed"
			m.find(Finding{Invariant: I5, Kind: v.Kind, Verdict: v.Text, At: r.Time})
		}

		m.report.Figures.Messages++

		if v == nil || v.Kind != "malformed" {
			m.addMessage(&read, r)
		}

		return nil
	})

	for _, l := range m.lanes {
		slices.Sort(l.events)
	}

	return err
}

func (m *model) addMessage(read *message, r *history.Message) {
	s := &m.stream

	if read.stream != s.id {
		s.id, s.first = read.stream, read.sequence
		clear(s.messages)
	} else if read.sequence <= s.last && (s.replaced == 0 || read.sequence < s.replaced) {
		s.replaced = read.sequence
	}

	s.last = read.sequence
	s.rewound = s.rewound || read.generation > 0
	s.messages[read.sequence] = stored{read.event, read.count, read.generation, read.at, read.kind, read.partition}

	if !read.completes() {
		return
	}

	m.report.Figures.Published++

	i := m.eventAt(read.at)
	if i == none {
		m.find(Finding{
			Invariant: I5, Kind: "unknown event", At: r.Time,
			Verdict: fmt.Sprintf("message %d is an event at position %s, where the source told none", read.sequence, read.at),
		})

		return
	}

	e := &m.events[i]
	if read.kind == ofEvent && read.ns != e.ns {
		m.find(Finding{
			Invariant: I5, Kind: "another event", At: r.Time,
			Verdict: fmt.Sprintf("message %d is of %s, the source's event at its position %s is of %s", read.sequence, read.ns, read.at, e.ns),
		})
	}

	e.sequence = read.sequence

	switch e.partition {
	case none:
		e.partition = read.partition
		l := m.lanes[read.partition]
		l.events = append(l.events, i)
	case read.partition:
	default:
		m.find(Finding{
			Invariant: I5, Kind: "another way", At: r.Time,
			Verdict: fmt.Sprintf("message %d is an event of p%02d that was in p%02d before: %s at %s; what one has applied the other does not know",
				read.sequence, read.partition, e.partition, e.ns, read.at),
		})
	}
}

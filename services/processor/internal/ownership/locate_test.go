package ownership

import (
	"context"
	"errors"
	"testing"

	"github.com/stretchr/testify/require"
	"go.mongodb.org/mongo-driver/v2/bson"
	"google.golang.org/protobuf/proto"
	"pgregory.net/rapid"

	"github.com/atlas-relay/atlas-relay/pkg/checkpoint"
	"github.com/atlas-relay/atlas-relay/pkg/event"
	relayv1 "github.com/atlas-relay/atlas-relay/proto/relay/v1"
	"github.com/atlas-relay/atlas-relay/services/processor/internal/consume"
)

const (
	lanes = 2 // partitions of the simulated stream
	// simulated is how many events the source has in the end.
	simulated = 60
)

// scene is a source, a listener, the stream and one owner of each partition.
type scene struct {
	disk

	// Of the listener.
	generation, read uint64 // read: events of the source
	skipped          uint64
	broken           bool // the tail cannot be trusted: nothing is published before a rewind
	heads            [lanes]uint64
	filtered         map[uint64]bool // it was left out once: a filter that is opened again has later events only

	// Of the owners.
	held    [lanes]checkpoint.Document
	seen    [lanes]uint64
	hole    [lanes]*consume.HoleError
	applied [lanes][]uint64 // numbers of events
}

func newScene() *scene {
	s := &scene{disk: disk{first: 1}, filtered: map[uint64]bool{}}
	s.mark()

	for p := range s.held {
		s.held[p] = checkpoint.Document{Partition: p, Place: checkpoint.PlaceOf(s.messages[0], 1)}
	}

	return s
}

func laneOf(n uint64) int { return int(n*2654435761>>7) % lanes }

func (s *scene) message(kind event.Kind) *event.Message {
	return &event.Message{
		Kind: kind, StreamID: "s", Generation: s.generation, Event: s.read, Position: event.Position{T: uint32(s.read)},
		Skipped: s.skipped, ResumeToken: bson.Raw{5, 0, 0, 0, 0}, Part: 1, Parts: 1, Attempt: 1,
	}
}

func (s *scene) mark() {
	m := s.message(event.KindMarker)
	m.Payload, _ = proto.Marshal(&relayv1.Marker{Heads: s.heads[:]})
	s.messages = append(s.messages, m)
}

// publish takes the source's next event.
func (s *scene) publish(filter bool) {
	s.read++
	s.filtered[s.read] = s.filtered[s.read] || filter

	if filter {
		s.skipped++

		return
	}

	p := laneOf(s.read)
	s.heads[p]++

	m := s.message(event.KindEvent)
	m.Partition, m.Count = p, s.heads[p]
	s.messages = append(s.messages, m)
}

// loseTail sets the stream back; the listener goes on from the new end, as
// chain.ReadTail does.
func (s *scene) loseTail(n int) {
	left := s.messages[:max(len(s.messages)-n, int(s.first))]
	for left[len(left)-1] == nil {
		left = left[:len(left)-1]
	}

	before := s.messages
	s.messages = left

	marker, err := s.LastMarker(context.Background())
	if err != nil { // without a marker no listener goes on
		s.messages = before

		return
	}

	tail := s.messages[len(s.messages)-1]
	s.generation, s.read, s.skipped = tail.Generation, tail.Event, tail.Skipped

	fromHeads := int64(0)

	for p := range s.heads {
		s.heads[p], _ = headsOf(&marker, p)

		for _, m := range s.messages[marker.Sequence:] {
			if m != nil && m.Kind == event.KindEvent && m.Partition == p {
				s.heads[p] = m.Count
			}
		}

		head, _ := headsOf(&marker, p)
		fromHeads += int64(s.heads[p]) - int64(head)
	}

	// chain.Tail.Missing: a listener that cannot trust the tail rewinds at once.
	s.broken = fromHeads != counted(tail)-counted(&marker.Message)
}

// counted is how many events were not left out up to a message, in its generation.
func counted(m *event.Message) int64 { return int64(m.Event - m.Skipped) }

// rewind is the listener's answer to a hole that an owner met.
func (s *scene) rewind() {
	lowest := &s.held[0].Place
	needed := s.broken

	for p := range s.held {
		if s.held[p].Event < lowest.Event {
			lowest = &s.held[p].Place
		}

		needed = needed || s.hole[p] != nil && s.hole[p].Generation >= s.generation
	}

	if !needed {
		return
	}

	for p := range s.held {
		s.generation = max(s.generation, s.held[p].StreamGeneration())
		if s.hole[p] != nil {
			s.generation = max(s.generation, s.hole[p].Generation)
		}
	}

	s.generation++
	s.broken = false
	s.read, s.skipped, s.heads = uint64(lowest.Event), uint64(*lowest.Skipped), [lanes]uint64{}
	s.mark()
}

// own is one ownership of a partition: it reads until something is wrong, and
// commits some of what it has taken. It tells whether it got to the end.
func (s *scene) own(t *rapid.T, p int) (end bool) {
	ctx := context.Background()

	began, err := locate(ctx, s, &s.held[p], s.seen[p])
	if err == nil && s.hole[p] != nil && began.from.StreamGeneration() <= s.hole[p].Generation {
		return false
	}

	if hole, ok := errors.AsType[*consume.HoleError](err); ok {
		s.hole[p] = hole

		return false
	}

	if errors.Is(err, ErrPurged) { // every marker is gone
		return false
	}

	require.NoError(t, err)

	s.hole[p] = nil
	v := consume.NewVerifier(&began.from)
	stop := rapid.IntRange(0, 2*len(s.messages)).Draw(t, "stop")
	delivered := uint64(0)

	for sequence := began.after + 1; ; sequence++ {
		m, err := s.NextOf(ctx, p, sequence)
		if err != nil {
			return s.idle(t, p, &began, v.Passed())
		}

		if int(m.Sequence) > stop {
			return false
		}

		sequence = m.Sequence
		delivered++

		whole, complete, err := v.Check(m.Message, delivered)

		if hole, ok := errors.AsType[*consume.HoleError](err); ok {
			s.hole[p] = hole

			return false
		}

		if rewound, ok := errors.AsType[*consume.GenerationError](err); ok {
			s.seen[p] = rewound.Generation

			return false
		}

		require.NoError(t, err)

		if complete { // and committed at once: the rest of a batch comes again
			s.applied[p] = append(s.applied[p], whole.Event)
			s.held[p].Place = checkpoint.PlaceOf(&whole, m.Sequence)
		}
	}
}

// idle is an owner that has read everything: it moves to the last marker.
func (s *scene) idle(t *rapid.T, p int, began *start, passed uint64) bool {
	ctx := context.Background()
	l := &lane{partition: &partition{number: p, held: s.held[p]}, start: *began, began: s.held[p].Place}

	if !l.settling(&l.held) || began.from.Generation == s.held[p].Generation && !began.moved {
		if err := reachable(ctx, s, &s.held[p], s.held[p].StreamSequence()+1); err != nil && !errors.Is(err, ErrPurged) {
			hole, ok := errors.AsType[*consume.HoleError](err)
			require.True(t, ok, "%v", err)

			s.hole[p] = hole

			return false
		}
	}

	stored, err := s.LastMarker(ctx)
	if err != nil {
		return true
	}

	heads, err := headsOf(&stored, p)
	require.NoError(t, err)

	all := make([]uint64, lanes)
	all[p] = heads

	if count, ok := l.settledBy(&marker{place: checkpoint.PlaceOf(&stored.Message, stored.Sequence), heads: all}, passed); ok {
		s.held[p].Place = checkpoint.PlaceOf(&stored.Message, stored.Sequence)
		s.held[p].Count = int64(count)
	}

	return true
}

// check: in order, none twice, and none left out that the listener did not.
func (s *scene) check(t *rapid.T, all bool) {
	for p := range s.applied {
		last := uint64(0)

		for _, n := range s.applied[p] {
			for missed := last + 1; missed < n; missed++ {
				require.True(t, laneOf(missed) != p || s.filtered[missed], "event %d of partition %d was left out before %d", missed, p, n)
			}

			require.Greater(t, n, last, "partition %d", p)
			last = n
		}

		for missed := last + 1; all && missed <= simulated; missed++ {
			require.True(t, laneOf(missed) != p || s.filtered[missed], "event %d of partition %d was left out at the end", missed, p)
		}
	}
}

// TestNothingIsLostWhateverTheStreamLoses: tails, heads and messages amid
// vanish, before and after they were applied, sequences are used again with
// other events, owners stop anywhere.
func TestNothingIsLostWhateverTheStreamLoses(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		s := newScene()

		// A tail lost after it was applied, published again with a changed filter, and its head or one of it lost then: what
		// is left of a partition may count on from the checkpoint by chance. Not all three in one run.
		filters, again := rapid.Bool().Draw(t, "filters"), false

		t.Repeat(map[string]func(*rapid.T){
			"publish": func(t *rapid.T) {
				for range rapid.IntRange(1, 6).Draw(t, "events") {
					if s.read < simulated && !s.broken {
						s.publish(filters && rapid.IntRange(0, 5).Draw(t, "filter") == 5)
					}
				}
			},
			"mark": func(*rapid.T) {
				if !s.broken {
					s.mark()
				}
			},
			"lose the tail": func(t *rapid.T) {
				s.loseTail(rapid.IntRange(1, 12).Draw(t, "messages"))
				again = filters
			},
			"lose one": func(t *rapid.T) {
				if i := rapid.IntRange(1, len(s.messages)).Draw(t, "message"); !again && uint64(i) > s.first && i < len(s.messages) {
					lost := s.messages[i-1]
					s.messages[i-1] = nil

					if _, err := s.LastMarker(t.Context()); err != nil {
						s.messages[i-1] = lost
					}
				}
			},
			"lose the head": func(t *rapid.T) {
				if first := s.first + uint64(rapid.IntRange(1, 5).Draw(t, "messages")); !filters && first < uint64(len(s.messages)) && s.messages[first-1] != nil {
					before := s.first
					s.first = first

					if _, err := s.LastMarker(t.Context()); err != nil {
						s.first = before
					}
				}
			},
			"own":    func(t *rapid.T) { s.own(t, rapid.IntRange(0, lanes-1).Draw(t, "partition")) },
			"rewind": func(*rapid.T) { s.rewind() },
			"":       func(t *rapid.T) { s.check(t, false) },
		})

		// Nothing breaks any more: it heals.
		for round := 0; ; round++ {
			require.Less(t, round, 200, "it does not heal")

			s.rewind()

			for s.read < simulated {
				s.publish(false)
			}

			s.mark()

			ended := s.read == simulated
			for p := range lanes {
				ended = s.own(t, p) && ended
			}

			if ended {
				break
			}
		}

		s.check(t, true)
	})
}

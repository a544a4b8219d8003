package live

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/atlas-relay/atlas-relay/pkg/event"
)

// TestPurgedStreamIsCheckedFromItsFirstMessage: what is gone is no gap, what is missing behind it is one.
func TestPurgedStreamIsCheckedFromItsFirstMessage(t *testing.T) {
	t.Parallel()

	message := func(number, count uint64, partition int) *event.Message {
		return &event.Message{
			Kind: event.KindEvent, Partition: partition, Event: number, Count: count, Position: event.Position{T: uint32(number)},
			Part: 1, Parts: 1, Attempt: 1, Size: 1, Payload: []byte{0},
		}
	}
	marker := &event.Message{Kind: event.KindMarker, Event: 40}

	for name, first := range map[string]*event.Message{"event": message(40, 7, 1), "marker": marker} {
		purged := newReader(2)
		purged.purged = true
		require.NoError(t, purged.add(first), name)
		require.NoError(t, purged.add(message(41, 3, 0)), name)
		require.NoError(t, purged.add(message(42, 8, 1)), name)
		require.ErrorContains(t, purged.add(message(43, 5, 0)), "partition 0: count 5 after 3", name)
		require.ErrorContains(t, purged.add(message(45, 9, 1)), "event 45", name)

		require.ErrorContains(t, newReader(2).add(first), "event 40", "a stream that begins with message 1")
	}
}

// TestEachPartitionIsToldOfASchemaChange: copies that are missing, astray or of another attempt are found.
func TestEachPartitionIsToldOfASchemaChange(t *testing.T) {
	t.Parallel()

	message := func(kind event.Kind, partition int, number, count uint64) *event.Message {
		return &event.Message{
			Kind: kind, Partition: partition, Event: number, Count: count, Position: event.Position{T: uint32(number)},
			Part: 1, Parts: 1, Attempt: 1, Size: 1, Payload: []byte{0},
		}
	}
	barrier := func(partition int, count uint64) *event.Message {
		return message(event.KindBarrier, partition, 2, count)
	}
	again := func(partition int, count uint64) *event.Message {
		m := barrier(partition, count)
		m.Attempt = 2

		return m
	}
	skipped := &event.Message{Kind: event.KindMarker, Event: 2, Skipped: 1}
	behind := message(event.KindEvent, 0, 3, 1)
	behind.Skipped = 1

	for name, test := range map[string]struct {
		messages []*event.Message // behind event 1 of partition 2
		wrong    string
	}{
		"whole":              {messages: []*event.Message{barrier(2, 1), barrier(1, 0), barrier(0, 1)}},
		"interrupted":        {messages: []*event.Message{barrier(2, 1), again(2, 1), again(1, 0), again(0, 1)}},
		"removed":            {messages: []*event.Message{barrier(2, 1), skipped, behind}},
		"no copies":          {messages: []*event.Message{barrier(0, 1)}, wrong: "0 of 2 copies"},
		"one copy":           {messages: []*event.Message{barrier(1, 0), barrier(0, 1)}, wrong: "1 of 2 copies"},
		"another order":      {messages: []*event.Message{barrier(1, 0), barrier(2, 1), barrier(0, 1)}, wrong: "1 of 2 copies"},
		"another attempt":    {messages: []*event.Message{barrier(2, 1), barrier(1, 0), again(0, 1)}, wrong: "attempt 1"},
		"attempts mixed":     {messages: []*event.Message{barrier(2, 1), again(1, 0), again(0, 1)}, wrong: "attempt 1"},
		"a raised count":     {messages: []*event.Message{barrier(2, 2)}, wrong: "count 2 after 1"},
		"of what is over":    {messages: []*event.Message{message(event.KindBarrier, 1, 1, 0)}, wrong: "after 1.0.0"},
		"an event between":   {messages: []*event.Message{barrier(2, 1), barrier(1, 0), message(event.KindEvent, 1, 2, 1), message(event.KindBarrier, 0, 3, 1)}, wrong: "0 of 2"},
		"the change missing": {messages: []*event.Message{barrier(2, 1), barrier(1, 0), message(event.KindEvent, 0, 3, 1)}, wrong: "event 3"},
	} {
		r := newReader(3)
		err := r.add(message(event.KindEvent, 2, 1, 1))

		for _, m := range test.messages {
			if err == nil {
				err = r.add(m)
			}
		}

		if test.wrong == "" {
			require.NoError(t, err, name)
		} else {
			require.ErrorContains(t, err, test.wrong, name)
		}
	}
}

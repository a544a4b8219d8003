package verify_test

import (
	"fmt"
	"strconv"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/atlas-relay/atlas-relay/e2e/history"
	"github.com/atlas-relay/atlas-relay/e2e/verify"
)

// entry is a message of the tests below, whose streams are published without an id chain.
type entry struct {
	subject                       string
	number, count, skipped, tries uint64
}

func event(partition int, number, count uint64) entry {
	return entry{subject: fmt.Sprintf("cdc.test.%02d.shop.orders", partition), number: number, count: count}
}

func barrier(partition int, count uint64) entry {
	return entry{subject: fmt.Sprintf("cdc.test.%02d.b", partition), number: 2, count: count}
}

func again(partition int, count uint64) entry {
	e := barrier(partition, count)
	e.tries = 2

	return e
}

func (e entry) message(sequence uint64) *history.Message {
	header := map[string]string{
		verify.HeaderID: strconv.FormatUint(sequence, 10), verify.HeaderStream: "S", verify.HeaderWriter: "1",
		verify.HeaderPosition: fmt.Sprintf("%d.0.0", e.number), verify.HeaderToken: fmt.Sprintf("%s %d", e.subject, sequence),
		verify.HeaderEvent: strconv.FormatUint(e.number, 10), verify.HeaderSkipped: strconv.FormatUint(e.skipped, 10),
		verify.HeaderCount: strconv.FormatUint(e.count, 10), verify.HeaderAttempt: strconv.FormatUint(max(e.tries, 1), 10),
	}

	return &history.Message{Sequence: sequence, Subject: e.subject, Header: header, Size: 1}
}

// TestPurgedStreamIsCheckedFromItsFirstMessage: what is gone is no gap, what is missing behind it is one.
func TestPurgedStreamIsCheckedFromItsFirstMessage(t *testing.T) {
	t.Parallel()

	for name, first := range map[string]entry{"event": event(1, 40, 7), "marker": {subject: "cdc.test.m", number: 40}} {
		add := func(s *verify.Stream, sequence uint64, e entry) error { return s.Add(e.message(sequence)) }

		purged := verify.NewStream(verify.StreamOptions{Partitions: 2, Batch: true})
		require.NoError(t, add(purged, 100, first), name)
		require.NoError(t, add(purged, 101, event(0, 41, 3)), name)
		require.NoError(t, add(purged, 102, event(1, 42, 8)), name)
		require.ErrorContains(t, add(purged, 103, event(0, 43, 5)), "partition 0: count 5 after 3", name)
		require.ErrorContains(t, add(purged, 104, event(1, 45, 9)), "event 45", name)
	}

	whole := verify.NewStream(verify.StreamOptions{Partitions: 2, Batch: true})
	require.ErrorContains(t, whole.Add(event(1, 40, 7).message(1)), "event 40", "a stream that begins with message 1")
}

// TestEachPartitionIsToldOfASchemaChange: copies that are missing, astray or of another attempt are found.
func TestEachPartitionIsToldOfASchemaChange(t *testing.T) {
	t.Parallel()

	skipped := entry{subject: "cdc.test.m", number: 2, skipped: 1}
	behind := event(0, 3, 1)
	behind.skipped = 1

	over := barrier(1, 0)
	over.number = 1

	late := barrier(0, 3)
	late.number = 3

	for name, test := range map[string]struct {
		messages []entry // behind event 1 of partition 2
		wrong    string
	}{
		"whole":              {messages: []entry{barrier(2, 1), barrier(1, 0), barrier(0, 1)}},
		"interrupted":        {messages: []entry{barrier(2, 1), again(2, 1), again(1, 0), again(0, 1)}},
		"removed":            {messages: []entry{barrier(2, 1), skipped, behind}},
		"no copies":          {messages: []entry{barrier(0, 1)}, wrong: "0 of 2 copies"},
		"one copy":           {messages: []entry{barrier(1, 0), barrier(0, 1)}, wrong: "1 of 2 copies"},
		"another order":      {messages: []entry{barrier(1, 0), barrier(2, 1), barrier(0, 1)}, wrong: "1 of 2 copies"},
		"another attempt":    {messages: []entry{barrier(2, 1), barrier(1, 0), again(0, 1)}, wrong: "attempt 1"},
		"attempts mixed":     {messages: []entry{barrier(2, 1), again(1, 0), again(0, 1)}, wrong: "attempt 1"},
		"a raised count":     {messages: []entry{barrier(2, 2)}, wrong: "count 2 after 1"},
		"of what is over":    {messages: []entry{over}, wrong: "after 1.0.0"},
		"an event between":   {messages: []entry{barrier(2, 1), barrier(1, 0), event(1, 2, 1), late}, wrong: "0 of 2"},
		"the change missing": {messages: []entry{barrier(2, 1), barrier(1, 0), event(0, 3, 1)}, wrong: "event 3"},
	} {
		s := verify.NewStream(verify.StreamOptions{Partitions: 3, Batch: true})
		err := s.Add(event(2, 1, 1).message(1))

		for i, m := range test.messages {
			if err == nil {
				err = s.Add(m.message(uint64(i + 2)))
			}
		}

		if test.wrong == "" {
			require.NoError(t, err, name)
		} else {
			require.ErrorContains(t, err, test.wrong, name)
		}
	}
}

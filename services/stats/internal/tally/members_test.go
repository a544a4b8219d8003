package tally_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/atlas-relay/atlas-relay/services/stats/internal/tally"
)

func TestMembers(t *testing.T) {
	t.Parallel()

	in := healthy()
	in.Reports.Listeners[0].Arrived = noon().Add(-time.Second)
	s := tally.Count(in)

	members := s.Members()
	require.Len(t, members, 2)
	require.Equal(t, tally.RoleListener, members[0].Role)
	require.Equal(t, "STREAMING", members[0].State)
	require.Equal(t, noon().Add(-time.Second), members[0].Arrived)
	require.Equal(t, tally.RoleProcessor, members[1].Role)
	require.Equal(t, "p", members[1].ID)
	require.Equal(t, 2, members[1].Partitions)
}

// Who waits for a lease that another holds is no owner yet.
func TestMemberOwnsWhatItHasTheLeaseOf(t *testing.T) {
	t.Parallel()

	s := tally.Stats{Processors: []tally.Processor{{Partitions: []tally.Ownership{
		{Partition: 1, State: "ACQUIRING"},
		{Partition: 0, State: "ACQUIRING", Epoch: 5}, // it reads the checkpoint
	}}}}

	require.Equal(t, 1, s.Members()[0].Partitions)
	require.Equal(t, []int{0}, s.Processors[0].Owned())
}

// A processor is as well as its worst partition.
func TestStateOfAProcessor(t *testing.T) {
	t.Parallel()

	owned := func(state, reason string, numbers ...int) (list []tally.Ownership) {
		for _, n := range numbers {
			list = append(list, tally.Ownership{Partition: n, State: state, Reason: reason, Epoch: 5})
		}

		return list
	}

	for name, test := range map[string]struct {
		processor     tally.Processor
		state, reason string
	}{
		"applies":       {tally.Processor{Partitions: owned("APPLYING", "", 0, 1)}, "APPLYING", ""},
		"hands over":    {tally.Processor{Partitions: owned("DRAINING", "", 0)}, "APPLYING", ""},
		"owns nothing":  {tally.Processor{}, "STANDBY", ""},
		"cannot start":  {tally.Processor{Reason: "no primary"}, "WAITING", "no primary"},
		"one is paused": {tally.Processor{Partitions: append(owned("APPLYING", "", 0), owned("PAUSED", "no primary", 1)...)}, "WAITING", "partition 1 is PAUSED: no primary"},
		"some acquire":  {tally.Processor{Partitions: owned("ACQUIRING", "", 0, 1, 2)}, "WAITING", "partitions 0-2 are ACQUIRING"},
		"one has failed": {
			tally.Processor{Reason: "no primary", Partitions: append(owned("PAUSED", "no primary", 1), owned("FAILED", "a stranger's message", 3, 2)...)},
			"FAILED", "partitions 2-3 are FAILED: a stranger's message",
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()

			s := tally.Stats{Processors: []tally.Processor{test.processor}}
			require.Equal(t, test.state, s.Members()[0].State)
			require.Equal(t, test.reason, s.Members()[0].Reason)
		})
	}
}

func TestSinceWhenAPartitionIsInItsState(t *testing.T) {
	t.Parallel()

	var memory tally.Memory

	since := func(minutes int, change func(*tally.Input)) time.Time {
		in := healthy()
		in.Now = noon().Add(time.Duration(minutes) * time.Minute)
		change(in)

		s := tally.Count(in)
		memory.Date(&s)

		return s.Partitions[1].Since
	}

	as := func(state string) func(*tally.Input) {
		return func(in *tally.Input) { in.Reports.Processors[0].Partitions[1].State = state }
	}
	minute := func(n int) time.Time { return noon().Add(time.Duration(n) * time.Minute) }

	require.Zero(t, since(0, as("APPLYING")), "it was so before anybody looked")
	require.Equal(t, minute(1), since(1, as("PAUSED")))
	require.Equal(t, minute(1), since(2, as("PAUSED")))
	require.Zero(t, since(3, func(in *tally.Input) { in.Reports = nil }), "nobody knows its state")
	require.Equal(t, minute(1), since(4, as("PAUSED")))
	require.Equal(t, minute(5), since(5, func(in *tally.Input) { in.Reports.Processors = nil }), "without an owner")
	require.Equal(t, minute(5), since(6, func(in *tally.Input) { in.Reports.Processors = nil }))

	exact := func(in *tally.Input) { in.Reports.Processors[0].Partitions[1].Since = minute(-60) }
	require.Equal(t, minute(-60), since(7, exact), "its owner knows better")
	require.Equal(t, minute(8), since(8, func(in *tally.Input) {
		in.Reports.Processors[0].ID = "q"
	}), "another owner, in the same state")
}

// A partition that nobody owns says what keeps the next owner waiting.
func TestReasonOfAPartitionWithoutAnOwner(t *testing.T) {
	t.Parallel()

	in := healthy()
	in.Reports.Processors[0].Partitions[1] = tally.Ownership{Partition: 1, State: "ACQUIRING", Reason: "its lease is held by q"}

	s := tally.Count(in)
	require.Equal(t, "the next one is ACQUIRING: its lease is held by q", s.Partitions[1].Reason)
	require.Empty(t, s.Partitions[1].Owner)
}

// One that is missed is named as such with the state that it had; one that was started again is gone.
func TestMissedMembers(t *testing.T) {
	t.Parallel()

	in := healthy()
	in.Reports.Listeners = append(in.Reports.Listeners, tally.Listener{
		Instance: tally.Instance{ID: "m", Host: "h3", Silent: 3 * time.Second, LeaseTTL: 2 * time.Second}, State: "STANDBY",
	})
	in.Reports.Processors = append(in.Reports.Processors, tally.Processor{
		Instance: tally.Instance{ID: "q", Host: "h2", Silent: 3 * time.Second, LeaseTTL: 2 * time.Second}, ReportTime: noon().Add(-3 * time.Second),
	})

	s := tally.Count(in)
	members := s.Members()
	require.Len(t, members, 4)
	require.False(t, members[0].Missed)
	require.True(t, members[1].Missed)
	require.Equal(t, "STANDBY", members[1].State)
	require.Equal(t, "has said nothing for 3s", members[1].Reason)
	require.True(t, members[3].Missed)
	require.Equal(t, tally.Degraded, s.Status)

	in.Reports.Processors[0].Start = noon().Add(-time.Second) // on the host of the killed one
	in.Reports.Listeners[1].Silent = time.Second

	s = tally.Count(in)
	require.Len(t, s.Members(), 3)
	require.Len(t, s.Processors, 1)
	require.Equal(t, tally.OK, s.Status, s.Reasons)
	require.Len(t, in.Reports.Processors, 2, "what was read stays as it was")
}

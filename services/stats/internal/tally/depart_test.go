package tally_test

import (
	"fmt"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/atlas-relay/atlas-relay/services/stats/internal/tally"
)

// left is a processor that was killed at noon, a minute ago, and owned these partitions.
func left(id string, partitions ...int) tally.Departed {
	return tally.Departed{
		Instance: tally.Instance{ID: id, Host: "h3", PID: 7, Silent: time.Minute}, Role: tally.RoleProcessor,
		Arrived: time.Date(2026, 11, 29, 19, 2, 11, 0, time.UTC), ReportTime: noon(), Partitions: partitions,
	}
}

// Who went without a word is named for as long as it is remembered, with who does its work, and changes no status.
func TestDepartedAreNoted(t *testing.T) {
	t.Parallel()

	const since = "it has said nothing since 19:02:11 UTC; "

	for name, test := range map[string]struct {
		depart func(*tally.Input)
		status tally.Status
		notes  []string
	}{
		"nobody": {func(*tally.Input) {}, tally.OK, nil},
		"a processor whose work is taken over": {func(in *tally.Input) {
			in.Reports.Processors[0].PID = 4
			in.Reports.Departed = []tally.Departed{left("q", 0, 1)}
		}, tally.OK, []string{"processor on h3 (process 7) is gone: " + since + "of its partitions, 0-1 with process 4 on h2"}},
		"a processor of whose work some is not": {func(in *tally.Input) {
			in.Reports.Processors[0].Partitions = in.Reports.Processors[0].Partitions[:1]
			in.Reports.Departed = []tally.Departed{left("q", 0, 1)}
		}, tally.Degraded, []string{"processor on h3 (process 7) is gone: " + since + "of its partitions, 0 with process 0 on h2, 1 without an owner"}},
		"a processor without partitions": {func(in *tally.Input) {
			in.Reports.Departed = []tally.Departed{left("q")}
		}, tally.OK, []string{"processor on h3 (process 7) is gone: " + since + "it owned no partition"}},
		"the active listener, and another captures": {func(in *tally.Input) {
			d := left("m")
			d.Role, d.Active = tally.RoleListener, true
			in.Reports.Departed = []tally.Departed{d}
		}, tally.OK, []string{"listener on h3 (process 7) is gone: " + since + "listener on h1 (process 0) captures in its place"}},
		"the only listener": {func(in *tally.Input) {
			d := left("m")
			d.Role, d.Active = tally.RoleListener, true
			in.Reports.Listeners, in.Reports.Departed = nil, []tally.Departed{d}
		}, tally.Down, []string{"listener on h3 (process 7) is gone: " + since + "nobody captures in its place yet"}},
		"a standby": {func(in *tally.Input) {
			d := left("m")
			d.Role = tally.RoleListener
			in.Reports.Departed = []tally.Departed{d}
		}, tally.OK, []string{"listener on h3 (process 7) is gone: " + since + "it was not the active one"}},
		"one that stopped in order": {func(in *tally.Input) {
			d := left("q", 0)
			d.Stopped = true
			in.Reports.Departed = []tally.Departed{d}
		}, tally.OK, nil},
		"one that was restarted on its host": {func(in *tally.Input) {
			in.Reports.Processors[0].Host, in.Reports.Processors[0].Start, in.Reports.Processors[0].ReportTime = "h3", noon().Add(time.Second), noon().Add(time.Minute)
			in.Reports.Departed = []tally.Departed{left("q", 0)}
		}, tally.OK, nil},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()

			in := healthy()
			test.depart(in)

			s := tally.Count(in)
			require.Equal(t, test.status, s.Status, s.Reasons)
			require.Equal(t, test.notes, s.Notes)
		})
	}
}

// The notes name the latest; the list of members has all of them, among the others.
func TestManyDeparted(t *testing.T) {
	t.Parallel()

	in := healthy()

	for i := range 5 {
		d := left(fmt.Sprintf("o%d", i), i%2)
		d.Arrived = d.Arrived.Add(time.Duration(i) * time.Second)
		d.PID = int64(i)
		in.Reports.Departed = append(in.Reports.Departed, d)
	}

	s := tally.Count(in)
	require.Len(t, s.Notes, 4)
	require.Contains(t, s.Notes[0], "(process 4) is gone: it has said nothing since 19:02:15 UTC")
	require.Contains(t, s.Notes[2], "(process 2)")
	require.Equal(t, "2 more instances are gone; relayctl instances lists them", s.Notes[3])

	members := s.Members()
	require.Len(t, members, 7)

	ids := make([]string, 0, len(members))
	for _, m := range members {
		ids = append(ids, m.ID)
		require.Equal(t, m.ID[0] == 'o', m.Gone, m.ID)
		require.False(t, m.Missed)
	}

	require.Equal(t, []string{"l", "o0", "o1", "o2", "o3", "o4", "p"}, ids, "pages of the list rely on the order")
	require.Equal(t, "has said nothing since 19:02:12 UTC; of its partitions, 1 with process 0 on h2", members[2].Reason)
}

// A partition's new owners are named one by one as long as there are few.
func TestManyNewOwners(t *testing.T) {
	t.Parallel()

	in := healthy()
	in.Stream.Heads = make([]tally.Head, 6)
	in.Checkpoints = nil
	in.Reports.Processors = nil

	for i := range 6 {
		in.Reports.Processors = append(in.Reports.Processors, tally.Processor{
			Instance:   tally.Instance{ID: strconv.Itoa(i), Host: "h", PID: int64(i)},
			Partitions: []tally.Ownership{{Partition: i, State: "APPLYING", Epoch: 5}},
		})
	}

	in.Reports.Departed = []tally.Departed{left("q", 0, 1, 2, 3, 5)}
	require.Contains(t, tally.Count(in).Notes[0], "of its partitions, 0 with process 0 on h, 1 with process 1 on h, 2 with process 2 on h, 3, 5 with others")
}

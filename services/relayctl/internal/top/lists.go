package top

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	relayv1 "github.com/atlas-relay/atlas-relay/proto/relay/v1"
	"github.com/atlas-relay/atlas-relay/services/relayctl/internal/show"
)

// detailLines are below a list: an empty one, and what there is to say of the selected row.
const detailLines = 5

// listHeight is what the list itself has of the body.
func (m *Model) listHeight() int { return max(3, m.bodyHeight()-detailLines) }

// list draws a table, and below it what is known of the selected row.
func (m *Model) list(t *table, details []string) []string {
	t.cursor = m.cursors[m.view]
	lines := append(t.lines(&m.style, m.width, m.listHeight()), m.style.dim(strings.Repeat(m.rule(), m.width)))

	for i, detail := range details {
		// The last one may be long.
		if left := detailLines - 1 - i; i == len(details)-1 && left > 0 {
			for _, line := range wrapped(detail, m.width-gap, left) {
				lines = append(lines, "  "+line)
			}
		} else {
			lines = append(lines, fit("  "+detail, m.width))
		}
	}

	return lines
}

func (m *Model) partitionLines() []string {
	if len(m.stats.GetPartitions()) == 0 {
		return m.nothing("no partition is known")
	}

	t := &table{state: 1, columns: []column{
		{title: "#", right: true},
		{title: "STATE"},
		{title: "SINCE", right: true, rank: 2},
		{title: "OWNER", rank: 3},
		{title: "EPOCH", right: true, rank: 6},
		{title: "PENDING", right: true},
		{title: "PARKED", right: true, rank: 1},
		{title: "LAG", right: true},
		{title: "IN WORK", rank: 5},
		{title: "REASON"},
	}}

	for _, p := range m.stats.GetPartitions() {
		state := show.PartitionState(p)
		t.paints = append(t.paints, m.style.ofState(state))
		t.rows = append(t.rows, []string{
			strconv.FormatUint(uint64(p.GetPartition()), 10), state, show.SinceText(p.GetStateTime(), m.stats.GetSampleTime()),
			m.host(p.GetOwnerInstance()), strconv.FormatUint(p.GetEpoch(), 10),
			show.Number(p.PendingChanges), strconv.FormatUint(p.GetParkedChanges(), 10), show.Duration(p.GetLag()), show.Batch(p),
			show.Printable(p.GetReason()),
		})
	}

	return m.list(t, m.partitionDetails(m.stats.GetPartitions()[m.cursors[partitions]]))
}

func (m *Model) partitionDetails(p *relayv1.PartitionStats) []string {
	return []string{
		fmt.Sprintf("partition %d %s since %s, owner %s %s", p.GetPartition(), show.PartitionState(p), moment(p.GetStateTime()),
			m.host(p.GetOwnerInstance()), show.Printable(p.GetOwnerInstance())),
		fmt.Sprintf("processed %d, failed %d, skipped %d, batches %d", p.GetProcessedChanges(), p.GetFailedChanges(), p.GetSkippedChanges(), p.GetBatchesProcessed()),
		"position " + positionText(p.GetPosition()) + ", sequence " + strconv.FormatUint(p.GetSequence(), 10) + ", epoch " + strconv.FormatUint(p.GetEpoch(), 10),
		show.Printable(p.GetReason()),
	}
}

// host is where the instance with this id runs.
func (m *Model) host(id string) string {
	if id == "" {
		return "-"
	}

	for _, i := range m.stats.GetInstances() {
		if i.GetInstance().GetId() == id {
			return fmt.Sprintf("%s:%d", show.Printable(i.GetInstance().GetHost()), i.GetInstance().GetPid())
		}
	}

	return show.Printable(id)
}

func (m *Model) instanceLines() []string {
	switch {
	case show.NobodyWasHeard(m.stats):
		return m.nothing("the instances are unknown")
	case len(m.stats.GetInstances()) == 0:
		return m.nothing("no instance reports")
	}

	t := &table{state: 1, columns: []column{
		{title: "ROLE", rank: 1},
		{title: "STATE"},
		{title: "HOST"},
		{title: "PID", right: true, rank: 5},
		{title: "OWNS", right: true, rank: 2},
		{title: "UP", right: true, rank: 4},
		{title: "REPORTED", right: true, rank: 3},
		{title: "VERSION", rank: 6},
		{title: "REASON"},
	}}

	for _, i := range m.stats.GetInstances() {
		state, in := show.InstanceState(i), i.GetInstance()

		t.paints = append(t.paints, m.style.ofState(state))
		t.rows = append(t.rows, []string{
			show.Role(i), state, show.Printable(in.GetHost()), strconv.FormatInt(in.GetPid(), 10), show.Owned(i),
			show.Up(i, m.stats.GetSampleTime()), show.Ago(i.GetReportAge()), show.Printable(in.GetVersion()), show.Printable(i.GetReason()),
		})
	}

	i := m.stats.GetInstances()[m.cursors[instances]]
	in := i.GetInstance()

	return m.list(t, []string{
		fmt.Sprintf("%s %s, pid %d on %s, version %s", show.Role(i), show.Printable(in.GetId()), in.GetPid(), show.Printable(in.GetHost()), show.Printable(in.GetVersion())),
		"started " + moment(in.GetStartTime()) + ", partitions " + show.Owned(i),
		show.Printable(i.GetReason()),
	})
}

func (m *Model) letterLines() []string {
	switch {
	case m.groups == nil:
		return m.nothing("the dead letters are being asked for")
	case m.groups.Err != nil:
		return m.nothing("unknown because " + show.Printable(m.groups.Err.Error()))
	case len(m.groups.Groups) == 0:
		return m.nothing("there are no dead letters")
	}

	t := &table{state: 0, columns: []column{
		{title: "LETTERS", right: true},
		{title: "NAMESPACE"},
		{title: "CODE", right: true, rank: 1},
		{title: "LAST", right: true, rank: 2},
		{title: "FIRST", right: true, rank: 3},
		{title: "ERROR"},
	}}

	for _, g := range m.groups.Groups {
		t.paints = append(t.paints, m.style.bad)
		t.rows = append(t.rows, []string{
			strconv.FormatUint(g.GetDeadLetters(), 10), show.Namespace(g.GetNamespace()), strconv.FormatInt(int64(g.GetErrorCode()), 10),
			m.ago(g.GetLastChangeTime()), m.ago(g.GetFirstChangeTime()), show.Printable(g.GetError()),
		})
	}

	g := m.groups.Groups[m.cursors[letters]]

	look := fmt.Sprintf("relayctl dead-letters list --namespace %s --error-code %d", show.Namespace(g.GetNamespace()), g.GetErrorCode())
	if m.groups.Incomplete {
		look += "   (there are more than are counted here)"
	}

	return m.list(t, []string{look, show.Printable(g.GetError())})
}

// ago is how long before the sample that was.
func (m *Model) ago(at *timestamppb.Timestamp) string {
	if at == nil {
		return show.Absent
	}

	return show.SinceText(at, m.stats.GetSampleTime()) + " ago"
}

func (m *Model) nothing(what string) []string {
	lines := []string{fit("  "+what, m.width)}

	for _, why := range m.stats.GetUnknownBecause() {
		lines = append(lines, m.style.warn(fit("  unknown because "+show.Printable(why), m.width)))
	}

	return lines
}

func moment(at *timestamppb.Timestamp) string {
	if at == nil {
		return show.Absent
	}

	return at.AsTime().Local().Format(time.DateTime)
}

func positionText(at *relayv1.Position) string {
	text := show.PositionText(at)
	if at.GetSeconds() == 0 {
		return text
	}

	return text + " (" + time.Unix(int64(at.GetSeconds()), 0).Format(time.DateTime) + ")"
}

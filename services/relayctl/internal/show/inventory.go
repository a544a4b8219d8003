package show

import (
	"cmp"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	relayv1 "github.com/atlas-relay/atlas-relay/proto/relay/v1"
)

// Orders of lists.
const (
	ByAttention = "attention" // what needs a person first
	ByNumber    = "number"
	ByPending   = "pending"
	ByLag       = "lag"
)

// noOwner stands for the state of a partition that nobody owns.
const noOwner = "NO_OWNER"

// Partitions prints a table of partitions.
func Partitions(w io.Writer, found *relayv1.ListPartitionsResponse, color bool) error {
	const gap = 2

	table := tabwriter.NewWriter(w, 0, 0, gap, ' ', 0)
	fmt.Fprintln(table, "PARTITION\tSTATE\tSINCE\tOWNER\tEPOCH\tPENDING\tPARKED\tLAG\tPOSITION\tIN WORK\tREASON")

	for _, p := range found.GetPartitions() {
		fmt.Fprintf(table, "%d\t%s\t%s\t%s\t%d\t%s\t%d\t%s\t%s\t%s\t%s\n", p.GetPartition(), PartitionState(p),
			SinceText(p.GetStateTime(), found.GetSampleTime()), cmp.Or(plainText(p.GetOwnerInstance()), "-"), p.GetEpoch(),
			number(p.PendingChanges), p.GetParkedChanges(), Duration(p.GetLag()), PositionText(p.GetPosition()), batch(p), plainText(p.GetReason())) //nolint:protogetter // the getter says 0 for what is unknown
	}

	if err := table.Flush(); err != nil {
		return err
	}

	return unknown(w, found.GetUnknownBecause(), color)
}

// Instances prints a table of processes.
func Instances(w io.Writer, found *relayv1.ListInstancesResponse, color bool) error {
	const gap = 2

	table := tabwriter.NewWriter(w, 0, 0, gap, ' ', 0)
	fmt.Fprintln(table, "ROLE\tSTATE\tHOST\tPID\tINSTANCE\tVERSION\tUP\tPARTITIONS\tREPORTED\tREASON")

	for _, i := range found.GetInstances() {
		in := i.GetInstance()
		fmt.Fprintf(table, "%s\t%s\t%s\t%d\t%s\t%s\t%s\t%s\t%s\t%s\n", Role(i), InstanceState(i), plainText(in.GetHost()), in.GetPid(), plainText(in.GetId()),
			plainText(in.GetVersion()), Up(i, found.GetSampleTime()), Owned(i), Ago(i.GetReportAge()), plainText(i.GetReason()))
	}

	if err := table.Flush(); err != nil {
		return err
	}

	return unknown(w, found.GetUnknownBecause(), color)
}

func unknown(w io.Writer, because []string, color bool) error {
	for _, why := range because {
		word := "unknown"
		if color {
			word = yellow + word + plain
		}

		if _, err := fmt.Fprintf(w, "%s: %s\n", word, plainText(why)); err != nil {
			return err
		}
	}

	return nil
}

// SortPartitions orders partitions; equal ones by their number.
func SortPartitions(list []*relayv1.PartitionStats, by string) {
	slices.SortStableFunc(list, func(a, b *relayv1.PartitionStats) int {
		decided := 0

		switch by {
		case ByAttention:
			decided = cmp.Or(rankPartition(a)-rankPartition(b), -cmp.Compare(min(a.GetParkedChanges(), 1), min(b.GetParkedChanges(), 1)))
		case ByPending:
			decided = -cmp.Compare(atMost(a.PendingChanges), atMost(b.PendingChanges))
		case ByLag:
			decided = -cmp.Compare(longest(a.GetLag()), longest(b.GetLag()))
		}

		return cmp.Or(decided, cmp.Compare(a.GetPartition(), b.GetPartition()))
	})
}

// atMost is what an unknown number may be.
func atMost(n *uint64) uint64 {
	if n == nil {
		return 1<<64 - 1
	}

	return *n
}

func longest(d *durationpb.Duration) time.Duration {
	if d == nil {
		return 1<<63 - 1
	}

	return d.AsDuration()
}

// rankPartition is low for what a person should look at first.
func rankPartition(p *relayv1.PartitionStats) int {
	order := []string{"FAILED", noOwner, absent, "WAITING_REWIND", "PAUSED", "ACQUIRING", "DRAINING", "APPLYING"}

	return slices.Index(order, PartitionState(p))
}

// SortInstances puts what needs a person first; equal ones by role, host and process.
func SortInstances(list []*relayv1.InstanceStats) {
	slices.SortStableFunc(list, func(a, b *relayv1.InstanceStats) int {
		return cmp.Or(
			rankInstance(a)-rankInstance(b),
			cmp.Compare(a.GetRole(), b.GetRole()),
			strings.Compare(a.GetInstance().GetHost(), b.GetInstance().GetHost()),
			cmp.Compare(a.GetInstance().GetPid(), b.GetInstance().GetPid()),
			strings.Compare(a.GetInstance().GetId(), b.GetInstance().GetId()),
		)
	})
}

// What stands for the state of an instance that says nothing any more, and of one that nobody waits for any more.
const (
	Silent = "SILENT"
	Gone   = "GONE"
)

func rankInstance(i *relayv1.InstanceStats) int {
	order := []string{"FAILED", "HISTORY_LOST", Silent, "STALLED", "WAITING", absent, "STARTING", Gone}

	if at := slices.Index(order, InstanceState(i)); at >= 0 {
		return at
	}

	return len(order)
}

// PartitionState is the word for what is done with a partition.
func PartitionState(p *relayv1.PartitionStats) string {
	switch {
	case p.Owned == nil && p.GetState() == relayv1.PartitionState_PARTITION_STATE_UNSPECIFIED:
		return absent
	case p.GetState() == relayv1.PartitionState_PARTITION_STATE_UNSPECIFIED:
		return noOwner
	default:
		return strings.TrimPrefix(p.GetState().String(), "PARTITION_STATE_")
	}
}

// InstanceState is the word for what a process is doing.
func InstanceState(i *relayv1.InstanceStats) string {
	switch {
	case i.GetIsGone():
		return Gone
	case i.GetIsSilent():
		return Silent
	case i.GetState() == relayv1.InstanceState_INSTANCE_STATE_UNSPECIFIED:
		return absent
	default:
		return strings.TrimPrefix(i.GetState().String(), "INSTANCE_STATE_")
	}
}

// NobodyWasHeard tells whether a sample knows nothing of the instances, rather than that there are none.
func NobodyWasHeard(s *relayv1.Stats) bool {
	partitions := s.GetPartitions()

	return len(s.GetInstances()) == 0 && (len(partitions) == 0 || partitions[0].Owned == nil)
}

// Role is the word for what a process is there for.
func Role(i *relayv1.InstanceStats) string {
	return strings.ToLower(strings.TrimPrefix(i.GetRole().String(), "INSTANCE_ROLE_"))
}

// Up is for how long a process has run; of one that is gone nobody knows how long it did.
func Up(i *relayv1.InstanceStats, now *timestamppb.Timestamp) string {
	if i.GetIsGone() {
		return "-"
	}

	return SinceText(i.GetInstance().GetStartTime(), now)
}

// Owned is how many partitions a process owns; a listener owns none ever, and none does that is gone.
func Owned(i *relayv1.InstanceStats) string {
	if i.GetRole() == relayv1.InstanceRole_INSTANCE_ROLE_LISTENER || i.GetIsGone() {
		return "-"
	}

	return strconv.FormatUint(uint64(i.GetPartitions()), 10)
}

func batch(p *relayv1.PartitionStats) string {
	if PartitionState(p) == absent {
		return absent
	}

	size := strconv.FormatUint(p.GetPendingBatchSize(), 10)
	if p.GetIsBatchProcessing() {
		size += ", applying"
	}

	return size
}

// PositionText is a position as T.I.ordinal; "-" before the first event.
func PositionText(at *relayv1.Position) string {
	if at.GetSeconds() == 0 {
		return "-"
	}

	return fmt.Sprintf("%d.%d.%d", at.GetSeconds(), at.GetIncrement(), at.GetOrdinal())
}

// SinceText is how long ago a moment was at the time of the sample.
func SinceText(moment, now *timestamppb.Timestamp) string {
	if moment == nil || now == nil {
		return absent
	}

	return Compact(max(0, now.AsTime().Sub(moment.AsTime())))
}

// Ago is an age.
func Ago(age *durationpb.Duration) string {
	if age == nil {
		return absent
	}

	return Compact(age.AsDuration()) + " ago"
}

// Duration is a duration in a form that fits everywhere, or the mark of what is unknown.
func Duration(d *durationpb.Duration) string {
	if d == nil {
		return absent
	}

	return Compact(d.AsDuration())
}

// Compact writes a duration with two units at most: 12ms, 1.5s, 42s, 5m12s, 3h12m, 5d3h.
func Compact(d time.Duration) string {
	const (
		day   = 24 * time.Hour
		tenth = 100 * time.Millisecond
		short = 10 * time.Second
	)

	two := func(major, minor time.Duration, majorUnit, minorUnit string) string {
		if rest := d % major / minor; rest > 0 {
			return fmt.Sprintf("%d%s%d%s", d/major, majorUnit, rest, minorUnit)
		}

		return fmt.Sprintf("%d%s", d/major, majorUnit)
	}

	switch {
	case d == 0:
		return "0s"
	case d < time.Second:
		return fmt.Sprintf("%dms", max(1, d.Milliseconds()))
	case d < short:
		return d.Truncate(tenth).String()
	case d < time.Minute:
		return d.Truncate(time.Second).String()
	case d < time.Hour:
		return two(time.Minute, time.Second, "m", "s")
	case d < 2*day:
		return two(time.Hour, time.Minute, "h", "m")
	default:
		return two(day, time.Hour, "d", "h")
	}
}

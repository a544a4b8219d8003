package rewind_test

import (
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/atlas-relay/atlas-relay/pkg/event"
	relayv1 "github.com/atlas-relay/atlas-relay/proto/relay/v1"
	"github.com/atlas-relay/atlas-relay/services/listener/internal/rewind"
)

const partitions = 3

// at is the report of a partition whose checkpoint is at this event.
func at(partition uint32, n uint64) *relayv1.PartitionReport {
	return &relayv1.PartitionReport{
		Partition: partition, Epoch: 1, Event: n, Position: &relayv1.Position{Seconds: uint32(n)},
		ResumeToken: []byte{byte(n)}, Skipped: new(n / 2),
	}
}

func hole(p *relayv1.PartitionReport, generation uint64) *relayv1.PartitionReport {
	p.HoleGeneration, p.Reason = new(generation), "hole"

	return p
}

func report(revision uint64, list ...*relayv1.PartitionReport) rewind.Report {
	return rewind.Report{Revision: revision, Partitions: list}
}

func TestNothingIsWrong(t *testing.T) {
	t.Parallel()

	var w rewind.Watch

	for name, reports := range map[string][]rewind.Report{
		"no reports":           nil,
		"no hole":              {report(1, at(0, 5), at(1, 6), at(2, 7))},
		"an earlier one's":     {report(1, hole(at(0, 5), 2), at(1, 6), at(2, 7))},
		"damage that is known": {report(1, at(0, 5))},
	} {
		point, missing := w.Take(3, partitions, rewind.Damage{Deleted: 4, Lost: 1}, rewind.Damage{Deleted: 4, Lost: 1}, reports)
		require.Nil(t, point, name)
		require.Empty(t, missing, name)
		require.Empty(t, w.Reason(nil), name)
	}
}

// TestRewindWaitsForFreshReports: what was said before the damage was found may
// be above the present checkpoint.
func TestRewindWaitsForFreshReports(t *testing.T) {
	t.Parallel()

	var w rewind.Watch

	none := rewind.Damage{}

	point, missing := w.Take(0, partitions, none, none, []rewind.Report{report(7, hole(at(0, 5), 0), at(1, 6)), report(9, at(2, 7))})
	require.Nil(t, point)
	require.Equal(t, []int{0, 1, 2}, missing)
	require.Contains(t, w.Reason(missing), "start a processor")

	point, missing = w.Take(0, partitions, none, none, []rewind.Report{report(10, hole(at(0, 5), 0), at(1, 6)), report(9, at(2, 7))})
	require.Nil(t, point)
	require.Equal(t, []int{2}, missing)

	// It stays found, also when nobody says so any more.
	point, missing = w.Take(0, partitions, none, none, []rewind.Report{report(11, at(0, 5), at(1, 4)), report(12, at(2, 7))})
	require.Empty(t, missing)
	require.Equal(t, uint64(1), point.Generation)
	require.Equal(t, 1, point.Partition)
	require.Equal(t, uint64(4), point.Event)
	require.Equal(t, uint64(2), point.Skipped)
	require.Equal(t, []byte{4}, []byte(point.Token))
	require.Equal(t, event.Position{T: 4}, point.Position)
}

func TestDamageThatTheServerTells(t *testing.T) {
	t.Parallel()

	for name, damage := range map[string]rewind.Damage{"deleted": {Deleted: 5}, "lost": {Deleted: 4, Lost: 1}} {
		var w rewind.Watch

		_, _ = w.Take(2, partitions, damage, rewind.Damage{Deleted: 4}, nil)
		point, _ := w.Take(2, partitions, damage, rewind.Damage{Deleted: 4}, []rewind.Report{report(1, at(0, 5), at(1, 6), at(2, 7))})
		require.NotNil(t, point, name)
		require.Equal(t, uint64(3), point.Generation)
	}
}

func TestReportsThatDoNotCount(t *testing.T) {
	t.Parallel()

	for name, spoil := range map[string]func(*relayv1.PartitionReport){
		"not acquired yet":       func(p *relayv1.PartitionReport) { p.Epoch = 0 },
		"without a token":        func(p *relayv1.PartitionReport) { p.ResumeToken = nil },
		"of an earlier version":  func(p *relayv1.PartitionReport) { p.Skipped = nil },
		"of another's partition": func(p *relayv1.PartitionReport) { p.Partition = 99 },
	} {
		var w rewind.Watch

		spoiled := at(1, 6)
		spoil(spoiled)

		_, _ = w.Take(0, partitions, rewind.Damage{Lost: 1}, rewind.Damage{}, nil)
		point, missing := w.Take(0, partitions, rewind.Damage{Lost: 1}, rewind.Damage{}, []rewind.Report{report(5, at(0, 5), spoiled, at(2, 7))})
		require.Nil(t, point, name)
		require.Equal(t, []int{1}, missing, name)
	}
}

// TestRewindLosesNothing: whatever was reported, by owners and by those who were
// owners, the new generation begins at or below every owner's checkpoint, has a
// number that nobody has seen, and is never begun on an old report.
func TestRewindLosesNothing(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		var w rewind.Watch

		generation := rapid.Uint64Range(0, 5).Draw(t, "generation")
		found := rapid.Uint64Range(0, 20).Draw(t, "revision when found")
		_, _ = w.Take(generation, partitions, rewind.Damage{Deleted: 1}, rewind.Damage{}, []rewind.Report{report(found)})

		var reports []rewind.Report

		owners := map[uint32]*relayv1.PartitionReport{}
		revisions := map[uint32]uint64{}
		highest := generation

		for range rapid.IntRange(0, 8).Draw(t, "processors") {
			revision := rapid.Uint64Range(0, 40).Draw(t, "revision")

			var list []*relayv1.PartitionReport

			for number := range uint32(partitions) {
				if !rapid.Bool().Draw(t, "has") {
					continue
				}

				p := at(number, rapid.Uint64Range(0, 100).Draw(t, "event"))
				p.Epoch = rapid.Uint64Range(1, 1000).Draw(t, "epoch")
				p.Generation = rapid.Uint64Range(0, 7).Draw(t, "checkpoint's generation")

				if o := owners[number]; o == nil || o.GetEpoch() < p.GetEpoch() {
					owners[number], revisions[number] = p, revision
				}

				list = append(list, p)
			}

			reports = append(reports, report(revision, list...))
		}

		complete := len(owners) == partitions
		for number, o := range owners {
			complete = complete && revisions[number] > found
			highest = max(highest, o.GetGeneration())
		}

		point, missing := w.Take(generation, partitions, rewind.Damage{}, rewind.Damage{}, reports)
		if !complete {
			require.Nil(t, point)
			require.NotEmpty(t, missing)

			return
		}

		require.NotNil(t, point)
		require.Greater(t, point.Generation, highest)

		for _, o := range owners {
			require.LessOrEqual(t, point.Event, o.GetEvent())
		}
	})
}

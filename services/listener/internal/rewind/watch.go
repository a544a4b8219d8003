package rewind

import (
	"fmt"
	"slices"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/atlas-relay/atlas-relay/pkg/event"
	"github.com/atlas-relay/atlas-relay/pkg/topology"
	relayv1 "github.com/atlas-relay/atlas-relay/proto/relay/v1"
)

// Damage is what the server says of messages that are missing.
type Damage = topology.Damage

// Point is where a new generation begins: the lowest checkpoint.
type Point struct {
	From       uint64 // generation that was found damaged
	Generation uint64 // the new one, above every one that a checkpoint or a hole names
	Why        string // for a person

	Partition int // whose checkpoint it is
	Token     bson.Raw
	Position  event.Position
	Event     uint64
	Skipped   uint64
}

// Report is what a processor said last.
type Report struct {
	Revision   uint64 // of its key in the bucket: only grows
	Partitions []*relayv1.PartitionReport
}

// Watch decides when the stream has to be rewound and to where. It knows no
// clock and does no I/O. The zero Watch has seen nothing. Not safe for
// concurrent use.
type Watch struct {
	why   string // the stream has to be rewound; empty: not
	since uint64 // revision of the reports when that was found: only later ones count
}

// Reason says what was found, and what a rewind waits for; empty when nothing is
// wrong.
func (w *Watch) Reason(missing []int) string {
	switch {
	case w.why == "":
		return ""
	case len(missing) == 0:
		return w.why
	default:
		return fmt.Sprintf("%s; the rewind waits for reports of the owners of partitions %v: start a processor if none runs", w.why, missing)
	}
}

// Take takes in the state of the stream, of this generation, and the processors'
// reports. known is what there is still of the damage that the last rewind has healed. It returns the
// point to rewind to; nil while nothing is wrong, or while owners of missing
// partitions have not said where they are since the damage was found: a
// checkpoint of earlier may be above the present one, if the target was set back.
func (w *Watch) Take(generation uint64, partitions int, damage, known Damage, reports []Report) (point *Point, missing []int) {
	if w.why == "" {
		why := judge(generation, damage, known, reports)
		if why == "" {
			return nil, nil
		}

		w.Find(why, reports)
	}

	owners := latest(reports, partitions)
	lowest := -1

	for i, o := range owners {
		switch {
		case o == nil || o.revision <= w.since || o.Skipped == nil:
			missing = append(missing, i)
		case lowest < 0 || below(o.PartitionReport, owners[lowest].PartitionReport):
			lowest = i
		}
	}

	if len(missing) > 0 {
		return nil, missing
	}

	return w.point(generation, owners, lowest), nil
}

// Find takes in that the stream has to be rewound, whatever the reports say.
func (w *Watch) Find(why string, reports []Report) {
	if w.why != "" {
		return
	}

	w.why = why
	for _, r := range reports {
		w.since = max(w.since, r.Revision)
	}
}

// judge says why the stream has to be rewound. An owner that met a hole in an
// earlier generation has not found the present one yet.
func judge(generation uint64, damage, known Damage, reports []Report) string {
	for _, r := range reports {
		for _, p := range r.Partitions {
			if p.HoleGeneration != nil && p.GetHoleGeneration() >= generation {
				return fmt.Sprintf("the owner of partition %d found that the stream lacks messages: %s", p.GetPartition(), p.GetReason())
			}
		}
	}

	if damage.Exceeds(known) {
		return fmt.Sprintf("the stream lacks messages: the server misses %d amid the others and could not read %d (%d and %d were known)",
			damage.Deleted, damage.Lost, known.Deleted, known.Lost)
	}

	return ""
}

// owner is a partition's report and when it came.
type owner struct {
	*relayv1.PartitionReport

	revision uint64
}

// latest returns each partition's report by its owner: that of the highest
// epoch. Nil where nobody owns it.
func latest(reports []Report, partitions int) []*owner {
	owners := make([]*owner, partitions)

	for _, r := range reports {
		for _, p := range r.Partitions {
			number := int(p.GetPartition())
			if number >= partitions || p.GetEpoch() == 0 || len(p.GetResumeToken()) == 0 {
				continue
			}

			if o := owners[number]; o == nil || o.GetEpoch() < p.GetEpoch() {
				owners[number] = &owner{PartitionReport: p, revision: r.Revision}
			}
		}
	}

	return owners
}

// below compares places in the source's history.
func below(a, b *relayv1.PartitionReport) bool {
	if order := positionOf(a).Compare(positionOf(b)); order != 0 {
		return order < 0
	}

	return a.GetEvent() < b.GetEvent()
}

func positionOf(p *relayv1.PartitionReport) event.Position {
	return topology.DecodePosition(p.GetPosition())
}

// point names the new generation: none that anybody has ever seen.
func (w *Watch) point(generation uint64, owners []*owner, lowest int) *Point {
	from := generation

	for _, o := range owners {
		from = max(from, o.GetGeneration())
		if o.HoleGeneration != nil {
			from = max(from, o.GetHoleGeneration())
		}
	}

	at := owners[lowest]

	return &Point{
		From: generation, Generation: from + 1, Why: w.why,
		Partition: lowest, Token: slices.Clone(at.GetResumeToken()), Position: positionOf(at.PartitionReport),
		Event: at.GetEvent(), Skipped: at.GetSkipped(),
	}
}

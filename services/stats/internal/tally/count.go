package tally

import (
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/atlas-relay/atlas-relay/pkg/checkpoint"
)

// Count makes the sample.
func Count(in *Input) Stats {
	heard := *in
	heard.Reports = in.Reports.withoutSucceeded()
	in = &heard
	in.foreign = foreignCheckpoint(in)
	in.lost = lostTail(in)

	s := Stats{
		Flow:        in.Flow,
		Time:        in.Now,
		Unknown:     slices.Clone(in.Unknown),
		Stream:      in.Stream,
		Unsupported: in.Unsupported,
		Gaps:        countGaps(in),
		Pause:       in.Paused.Pause,

		PausedNamespaces: in.Paused.Namespaces,
		PauseKnown:       in.Checkpoints != nil && in.PauseDamaged == nil,

		Consistent: in.Still && in.Stream != nil && in.Checkpoints != nil && sameGeneration(in) && in.lost == 0,
	}

	if in.Reports != nil {
		s.Heard = true
		s.Listeners, s.Processors, s.Departed = in.Reports.Listeners, in.Reports.Processors, in.Reports.Departed
		s.AtLeastOnce = slices.ContainsFunc(s.Processors, func(p Processor) bool { return p.AtLeastOnce })
	}

	if in.Parked != nil {
		s.DeadLetters = new(in.Parked.Dead)
	}

	if in.PauseDamaged != nil {
		s.Unknown = append(s.Unknown, "what is paused: "+in.PauseDamaged.Error())
	}

	s.Partitions = partitions(in)
	s.cumulate(in)
	s.gauge(in)

	if s.Consistent && sameStream(in) {
		s.AddsUp = new(*s.Total == *s.Processed+*s.Failed+*s.Skipped+*s.Pending)
	}

	s.judge(in)
	s.Notes = s.notes()

	return s
}

// cumulate fills the counters.
func (s *Stats) cumulate(in *Input) {
	if in.Stream != nil {
		s.Total = new(in.Stream.Total)
	}

	if in.Checkpoints == nil {
		return
	}

	var processed, failed, skipped, batches, parked, pending uint64

	for i := range s.Partitions {
		counters := s.Partitions[i].Checkpoint.Counters
		processed += unsigned(counters.Processed)
		failed += unsigned(counters.Failed)
		skipped += unsigned(counters.Skipped)
		batches += unsigned(counters.Batches)
		parked += unsigned(s.Partitions[i].Checkpoint.Parked)

		if p := s.Partitions[i].Pending; p != nil {
			pending += *p
		}
	}

	s.Processed, s.Failed, s.Batches, s.Parked = &processed, &failed, &batches, &parked

	if in.Stream != nil {
		s.Skipped = new(in.Stream.Skipped + skipped)
	}

	if sameStream(in) {
		s.Pending = &pending
		s.Lag = s.lag()
	}
}

// lag is that of the partition furthest behind; nil if one is unknown.
func (s *Stats) lag() *time.Duration {
	var longest time.Duration

	for i := range s.Partitions {
		if s.Partitions[i].Lag == nil {
			return nil
		}

		longest = max(longest, *s.Partitions[i].Lag)
	}

	return &longest
}

// gauge fills what the instances say of themselves.
func (s *Stats) gauge(in *Input) {
	if in.Reports == nil {
		return
	}

	if active := activeListener(in.Reports.Listeners); active == nil {
		s.Unknown = append(s.Unknown, "capture lag: no listener reports")
	} else if s.CaptureLag = active.CaptureLag; s.CaptureLag == nil {
		s.Unknown = append(s.Unknown, "capture lag: the listener has read nothing yet")
	}

	if active := activeListener(in.Reports.Listeners); active != nil {
		s.History = active.History
	}

	if len(in.Reports.Processors) == 0 {
		s.Unknown = append(s.Unknown, "batches in work: no processor reports")

		return
	}

	size, processing := uint64(0), false

	for _, p := range s.Partitions {
		size += p.PendingBatchSize
		processing = processing || p.IsProcessing
	}

	s.PendingBatchSize, s.IsProcessing = &size, &processing
}

// partitions joins heads, checkpoints and owners. How many there are is known
// by the stream alone; without it, those are listed that somebody speaks of.
func partitions(in *Input) []Partition {
	number := 0
	if in.Stream != nil {
		number = len(in.Stream.Heads)
	} else {
		for partition := range in.Checkpoints {
			number = max(number, partition+1)
		}
	}

	list := make([]Partition, number)
	for i := range list {
		list[i] = partition(in, i)
	}

	return list
}

func partition(in *Input, number int) Partition {
	p := Partition{Number: number, Checkpoint: in.Checkpoints[number]}
	if in.Reports != nil {
		p.Owner, p.Ownership = owner(in.Reports.Processors, number, unsigned(p.Checkpoint.Epoch))
		p.Next = next(in.Reports.Processors, number)
		p.Owned = new(p.Owner != "")

		if p.Owner == "" {
			p.Reason = p.waitsFor()
		}
	}

	if !sameStream(in) {
		return p
	}

	head := in.Stream.Heads[number]
	unread := Pending(head.Count, p.Checkpoint)
	p.Pending = new(unread + unsigned(p.Checkpoint.Parked))
	// What is parked waits for its own reason: one bad document is not the lag
	// of its partition.
	p.Lag = lagOf(in.Now, unread, head.Oldest)

	return p
}

// Pending is how many events of a partition are published and behind none of
// its transactions; what is parked is not among them. A
// partition without a checkpoint (the zero Document) has settled none. A head
// behind the checkpoint is a stream that lost its tail: nothing is pending until
// the listener has published it again.
func Pending(head uint64, d checkpoint.Document) uint64 {
	if settled := unsigned(d.Count); head > settled {
		return head - settled
	}

	return 0
}

// clusterTimeStep is the resolution of a cluster time.
const clusterTimeStep = time.Second

// lagOf is how long the oldest pending event has been waiting. Its cluster time
// knows whole seconds only, so the end of that second is taken; while the flow
// keeps up, the time since NATS stored the event is longer and finer. Both
// compare clocks of different hosts: good to what these agree on, never below 0.
func lagOf(now time.Time, pending uint64, oldest *Waiting) *time.Duration {
	if pending == 0 {
		return new(time.Duration(0))
	}

	if oldest == nil {
		return nil
	}

	return new(max(0, now.Sub(oldest.Stored), now.Sub(oldest.Position.Time().Add(clusterTimeStep))))
}

// owner finds the report of the partition's owner: the highest epoch wins, and
// one below the checkpoint's was fenced and owns nothing any more.
func owner(processors []Processor, number int, fence uint64) (instance string, o Ownership) {
	o.Epoch = fence

	for i := range processors {
		for j := range processors[i].Partitions {
			if claim := &processors[i].Partitions[j]; claim.Partition == number && claim.Epoch >= o.Epoch && !claim.waits() {
				instance, o = processors[i].ID, *claim
			}
		}
	}

	o.Partition = number

	return instance, o
}

// next finds the report of the processor that is about to own the partition; nil
// when there is none.
func next(processors []Processor, number int) *Ownership {
	for i := range processors {
		for j := range processors[i].Partitions {
			if claim := &processors[i].Partitions[j]; claim.Partition == number && claim.waits() {
				return claim
			}
		}
	}

	return nil
}

// waits tells whether the reporting processor does not own the partition yet: it
// waits for the lease, or for the checkpoint.
func (o *Ownership) waits() bool { return o.State == acquiring && o.Epoch == 0 }

// sameStream tells whether the checkpoints speak of this stream. One of another
// stream has counts that mean nothing here.
func sameStream(in *Input) bool {
	return in.Stream != nil && in.Checkpoints != nil && in.foreign == nil
}

func foreignCheckpoint(in *Input) *checkpoint.Document {
	if in.Stream == nil {
		return nil
	}

	for _, partition := range slices.Sorted(maps.Keys(in.Checkpoints)) {
		// An owner that has acquired and not committed yet has no place.
		if d := in.Checkpoints[partition]; d.StreamID != "" && d.StreamID != in.Stream.ID {
			return new(d)
		}
	}

	return nil
}

// sameGeneration tells whether every checkpoint has reached the stream's last
// rewind; a count belongs to its generation.
func sameGeneration(in *Input) bool {
	for _, d := range in.Checkpoints {
		if d.StreamID != "" && unsigned(d.Generation) != in.Stream.Generation {
			return false
		}
	}

	return true
}

// lostTail is how many events the checkpoints have settled that the stream no longer has: it lost its end after that was
// applied. Until the listener has published it again there is no moment of the stream that the checkpoints belong to.
// Checkpoints are read before the stream, so none is ahead of one that is whole.
func lostTail(in *Input) (lost uint64) {
	if in.Checkpoints == nil || !sameStream(in) || !sameGeneration(in) {
		return 0
	}

	for partition, head := range in.Stream.Heads {
		if settled := unsigned(in.Checkpoints[partition].Count); settled > head.Count {
			lost += settled - head.Count
		}
	}

	return lost
}

// unsigned reads a counter of a checkpoint. BSON has no unsigned integers; ours
// are never negative, and one that is was not written by us.
func unsigned(n int64) uint64 {
	return uint64(max(n, 0))
}

// Sum is the identity in words, for a person.
func (s *Stats) Sum() string {
	return fmt.Sprintf("total %d, processed %d + failed %d + skipped %d + pending %d",
		*s.Total, *s.Processed, *s.Failed, *s.Skipped, *s.Pending)
}

// NobodyAnswers tells whether neither NATS nor the target could be asked:
// nothing is known about the flow.
func (s *Stats) NobodyAnswers() bool {
	return s.Status == Unknown && s.Stream == nil && s.Processed == nil
}

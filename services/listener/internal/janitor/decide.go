package janitor

import (
	"fmt"
	"time"
)

// MaxAge is how old a partition's report may be.
const MaxAge = time.Minute

// Report is what the processor with the highest epoch says of a partition. All
// of it was committed on the target before it was reported.
type Report struct {
	Partition  int
	Epoch      uint64 // 0 before the partition was acquired: no checkpoint is known
	StreamID   string
	Generation uint64
	Sequence   uint64        // of the checkpoint: this message and all before it are applied
	Age        time.Duration // by the NATS server's clock
	// Rewinding: the partition met a hole and waits for the listener to publish
	// again what follows its checkpoint.
	Rewinding bool
}

// View is the flow at one moment.
type View struct {
	StreamID   string
	Partitions int
	Generation uint64 // of the tail

	First, Last uint64 // sequences
	Messages    uint64
	Bytes       uint64
	MaxBytes    uint64 // 0 when unlimited
	Marker      uint64 // sequence of the newest marker

	Reports []Report // of all processors, in any order
}

// Decision is what may be purged.
type Decision struct {
	// KeepFrom is the first sequence that stays; 0: nothing is to be purged now.
	KeepFrom uint64
	// Forbidden says why nothing may be purged; empty when it may.
	Forbidden string
	// Floor is the lowest checkpoint's sequence; 0 while Forbidden.
	Floor uint64
	// HeldBy says what keeps the rest.
	HeldBy string
}

// Shares of the stream.
const (
	// wantedShare of max_bytes still free: then every message counts.
	wantedShare = 8
	// marginShare is the most of the stream's capacity that the margin keeps.
	marginShare = 2
	// markerShare of the capacity may be behind the newest marker.
	markerShare = 4
	// stepShare of the margin is the least worth a purge: each one rewrites the
	// block that it ends in.
	stepShare = 8
)

// Decide returns what may be purged when margin messages are to stay behind the
// lowest checkpoint. It keeps less than that where it would be more than half of
// what the stream can hold: half of what it holds now would halve it at every
// look, down to nothing.
func Decide(v *View, margin uint64) Decision {
	floor, heldBy, forbidden := v.floor()
	if forbidden != "" {
		return Decision{Forbidden: forbidden}
	}

	margin = min(margin, v.halfCapacity())
	keep := max(floor, margin) - margin + 1

	if keep >= v.Marker {
		keep, heldBy = v.Marker, fmt.Sprintf("the newest marker, message %d", v.Marker)
	}

	d := Decision{Floor: floor, HeldBy: heldBy}

	step := max(margin/stepShare, 1)
	if v.IsTight() {
		step = 1
	}

	if keep >= v.First+step {
		d.KeepFrom = keep
	}

	return d
}

// IsTight tells whether room is wanted.
func (v *View) IsTight() bool {
	return v.MaxBytes > 0 && v.Bytes >= v.MaxBytes-v.MaxBytes/wantedShare
}

// IsMarkerFar tells whether so much was published since the newest marker that a
// full stream could hardly be purged. The capture makes markers more often by
// itself, but by the limit that the stream had when it began.
func (v *View) IsMarkerFar() bool {
	return v.MaxBytes > 0 && v.Messages > 0 && v.Last > v.Marker &&
		float64(v.Last-v.Marker)/float64(v.Messages)*float64(v.Bytes) > float64(v.MaxBytes)/markerShare
}

// halfCapacity is half of the messages of the present average size that the
// stream can hold.
func (v *View) halfCapacity() uint64 {
	if v.MaxBytes == 0 || v.Bytes == 0 {
		return ^uint64(0)
	}

	return uint64(float64(v.Messages) * float64(v.MaxBytes) / float64(v.Bytes) / marginShare)
}

// floor returns the lowest checkpoint and whose it is, or why it is not known.
//
// A partition that waits for a rewind holds like any other while there is room:
// if the source has lost the history that the rewind needs, what the stream has
// behind the hole is the last copy. Once room is wanted it holds nothing, for a
// full stream would refuse the marker that begins the rewind.
func (v *View) floor() (floor uint64, heldBy, forbidden string) {
	if v.Marker < v.First || v.Marker > v.Last || v.First == 0 {
		return 0, "", fmt.Sprintf("the newest marker is message %d, the stream has %d to %d", v.Marker, v.First, v.Last)
	}

	floor, heldBy = v.Last, "the last message"

	for partition, r := range v.newest() {
		if why := v.mistrust(r); why != "" {
			return 0, "", fmt.Sprintf("partition %d: %s", partition, why)
		}

		if r.Rewinding && v.IsTight() {
			continue
		}

		if r.Sequence < floor {
			floor, heldBy = r.Sequence, fmt.Sprintf("partition %d", partition)
		}
	}

	return floor, heldBy, ""
}

// newest returns each partition's report of the highest epoch; nil where there
// is none. Two of one epoch cannot both commit: the lower one is taken.
func (v *View) newest() []*Report {
	newest := make([]*Report, v.Partitions)

	for i := range v.Reports {
		r := &v.Reports[i]
		if r.Partition < 0 || r.Partition >= v.Partitions || r.Epoch == 0 {
			continue
		}

		known := newest[r.Partition]
		if known == nil || r.Epoch > known.Epoch || r.Epoch == known.Epoch && r.Sequence < known.Sequence {
			newest[r.Partition] = r
		}
	}

	return newest
}

// mistrust says why a report does not count; empty when it does.
func (v *View) mistrust(r *Report) string {
	switch {
	case r == nil:
		return "no processor reports its checkpoint"
	case r.Age > MaxAge:
		return fmt.Sprintf("its report is older than %s", MaxAge)
	case r.StreamID != v.StreamID:
		return fmt.Sprintf("its checkpoint belongs to stream id %q, the stream has %s", r.StreamID, v.StreamID)
	case r.Generation != v.Generation:
		return fmt.Sprintf("its checkpoint is of generation %d, the stream is at %d", r.Generation, v.Generation)
	case r.Sequence > v.Last:
		return fmt.Sprintf("its checkpoint is at sequence %d, the stream ends at %d", r.Sequence, v.Last)
	case r.Sequence == 0:
		return "its checkpoint names no message"
	default:
		return ""
	}
}

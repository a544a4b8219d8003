package verify

import (
	"context"
	"errors"
	"fmt"
	"math"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"

	"github.com/atlas-relay/atlas-relay/pkg/checkpoint"
	"github.com/atlas-relay/atlas-relay/pkg/mongodb"
	"github.com/atlas-relay/atlas-relay/pkg/topology"
)

// progressReader asks the stream and the target how far the flow is.
type progressReader struct {
	flow   string
	stream *topology.Stream
	target *mongo.Client
	idle   idle
}

// read asks for the progress. now is a time of the source taken before the call, by which the source's idleness is told
// where its tokens do not tell the time.
func (r *progressReader) read(ctx context.Context, now bson.Timestamp) (Progress, error) {
	// The order makes All true: what is captured is a part of what the heads are of, and that is compared with what was
	// applied later.
	tail, err := r.stream.Tail(ctx)
	if err != nil {
		return Progress{}, fmt.Errorf("read how far the source is captured: %w", err)
	}

	marker, err := r.stream.LastMarker(ctx)
	if err != nil {
		return Progress{}, fmt.Errorf("read how far the source is captured: %w", err)
	}

	marked, err := r.stream.ParseMarker(&marker)
	if err != nil {
		return Progress{}, err
	}

	heads, err := r.stream.Heads(ctx, &marker, marked.GetHeads())
	if err != nil {
		return Progress{}, fmt.Errorf("read the partitions' last events: %w", err)
	}

	checkpoints, err := checkpoint.Load(ctx, r.target, r.flow)
	if err != nil {
		return Progress{}, ofTarget(err)
	}

	p := Progress{Captured: captured(&tail), Partitions: make([]Applied, len(heads))}
	if quiet := r.idle.see(&marker, tail.Sequence == marker.Sequence, now); quiet.After(p.Captured) {
		p.Captured = quiet
	}

	for partition := range p.Partitions {
		c, found := checkpoints[partition]
		if !found || c.StreamID != tail.StreamID {
			continue
		}

		p.Partitions[partition] = Applied{
			Position: c.Position,
			All:      c.StreamGeneration() == tail.Generation && c.LastCount() >= heads[partition],
		}
	}

	return p, nil
}

// captured is up to which time the stream holds everything, by its last message alone. More of just the time of that
// message's event, or of its token, may follow, so it is the time before.
func captured(tail *topology.Stored) bson.Timestamp {
	last := bson.Timestamp{T: tail.Position.T, I: tail.Position.I}

	if at, known := mongodb.TokenTime(tail.ResumeToken); known && at.After(last) {
		last = at
	}

	return before(last)
}

// before is the cluster time before another one.
func before(t bson.Timestamp) bson.Timestamp {
	switch {
	case t.I > 0:
		t.I--
	case t.T > 0:
		t.T, t.I = t.T-1, math.MaxUint32
	}

	return t
}

// idle tells how far a source without changes was read when its tokens do not say: the listener writes a marker when it
// has read on for a while and found nothing. Of two of them with nothing between, both written after a time of the source
// was taken, the second one is proof that everything up to that time had been read.
type idle struct {
	seen  []glimpse
	quiet bson.Timestamp
}

// glimpse is a time of the source, and the markers that have come since.
type glimpse struct {
	at       bson.Timestamp
	sequence uint64 // of the last marker when at was taken, or of the first one after it
	event    uint64 // number of the last event read, then
	after    int    // markers since
}

// mostGlimpses bounds what is remembered: so many looks pass between two markers at most.
const mostGlimpses = 100

func (i *idle) see(marker *topology.Stored, atTail bool, now bson.Timestamp) bson.Timestamp {
	if !atTail {
		i.seen = nil // the source is not idle: positions tell

		return i.quiet
	}

	kept := i.seen[:0]

	for _, g := range i.seen {
		switch {
		case g.event != marker.Event:
			continue // read on
		case marker.Sequence > g.sequence:
			g.sequence, g.after = marker.Sequence, g.after+1
		}

		if g.after < 2 {
			kept = append(kept, g)
		} else if g.at.After(i.quiet) {
			i.quiet = g.at
		}
	}

	i.seen = kept
	if len(i.seen) < mostGlimpses {
		i.seen = append(i.seen, glimpse{at: now, sequence: marker.Sequence, event: marker.Event})
	}

	return i.quiet
}

// errNoTime says that a deployment is no source.
var errNoTime = errors.New("the source tells no operation time")

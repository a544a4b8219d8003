package preflight

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/atlas-relay/atlas-relay/pkg/checkpoint"
	"github.com/atlas-relay/atlas-relay/pkg/pause"
	"github.com/atlas-relay/atlas-relay/pkg/topology"
)

func flowChecks() []Check {
	return []Check{
		{
			Code: "STR001", What: "the flow's stream is there, ours, and configured as declared",
			Why: "services never make it, and a changed setting breaks a promise", Remedy: "run relayctl flow init once", Needs: []string{"NTS003", "CFG001"},
			run: openStream,
		},
		{
			Code: "STR002", What: "the stream has as many partitions as PARTITIONS says",
			Why: "the count is fixed for the stream's life", Remedy: "set PARTITIONS to the stream's count, or unset it", Needs: []string{"STR001"},
			run: func(_ context.Context, w *World) []Finding {
				if w.Partitions != 0 && w.Partitions != w.stream.Partitions {
					return one(refused(fail("PARTITIONS", "PARTITIONS is %d, stream %s has %d", w.Partitions, w.stream.Name(), w.stream.Partitions)))
				}

				return nil
			},
		},
		{
			Code: "STR003", What: "the bucket of leases is there and its keys may expire",
			Why: "without leases nobody may work, and a lease that never ends blocks its partition", Remedy: "run relayctl flow init; a bucket without TTL has to be deleted first", Needs: []string{"STR001"},
			run: func(ctx context.Context, w *World) []Finding {
				return bucket(ctx, w, topology.OwnersBucket, func(s jetstream.KeyValueStatus) bool { return s.LimitMarkerTTL() > 0 })
			},
		},
		{
			Code: "STR004", What: "the bucket of reports is there and its keys expire",
			Why: "statistics are made from it", Remedy: "run relayctl flow init; a bucket without TTL has to be deleted first", Needs: []string{"STR001"},
			run: func(ctx context.Context, w *World) []Finding {
				return bucket(ctx, w, topology.StatsBucket, func(s jetstream.KeyValueStatus) bool { return s.TTL() > 0 })
			},
		},
		{
			Code: "STR005", What: "the buckets have as many replicas as the stream",
			Why: "with the one server that holds the leases nobody may work, however many hold the stream", Remedy: "run relayctl flow init with the stream's STREAM_REPLICAS: it adds replicas to the buckets", Needs: []string{"STR003", "STR004"},
			run: bucketReplicas,
		},
		{
			Code: "CHK001", What: "the flow's checkpoints can be read",
			Why: "a processor goes on where they say", Remedy: "grant find on atlas_relay: deploy/mongodb/target-role.js", Needs: []string{"TGT001", "CFG001"},
			run: func(ctx context.Context, w *World) []Finding {
				var err error
				if w.checkpoints, err = checkpoint.Load(ctx, w.target.client, w.Flow); err != nil {
					return one(w.target.trouble(err))
				}

				return nil
			},
		},
		{
			Code: "CHK002", What: "the checkpoints are of this stream and its partitions",
			Why: "another stream of the same name uses the same numbers for other changes", Remedy: "relayctl flow accept-gap, or flow delete and a new flow with a fresh copy", Needs: []string{"CHK001", "STR001"},
			run: sameStream,
		},
		{
			Code: "CHK003", What: "the stream still holds what follows the lowest checkpoint",
			Why: "what the stream lost before it was applied is missing on the target", Remedy: "start the listener: it publishes again from the source's history while that reaches back", Needs: []string{"CHK002"},
			run: holds,
		},
		{
			Code: "PAU001", What: "nobody has paused the flow or a namespace of it",
			Why: "what is paused is not written to the target until somebody resumes it", Remedy: "relayctl flow resume, with --namespace for a namespace", Needs: []string{"TGT001", "CFG001"},
			run: isPaused,
		},
	}
}

// isPaused tells of each pause by whom, since when and why. It is what a person wants, so it is no failure.
func isPaused(ctx context.Context, w *World) []Finding {
	d, err := pause.Load(ctx, w.target.client, w.Flow)

	var damaged *pause.DamagedError

	switch {
	case errors.As(err, &damaged):
		return one(fail(checkpoint.Database+"."+pause.Collection, "%s", damaged.Error()).remedy(damaged.Remedy()))
	case err != nil:
		return one(w.target.trouble(err))
	}

	var found []Finding

	if d.Pause != nil {
		found = append(found, warn("flow "+w.Flow, "%s", d.Pause.String()).remedy("relayctl flow resume, when the target may be written to again"))
	}

	for i := range d.Namespaces {
		n := &d.Namespaces[i]
		found = append(found, warn(n.Name(), "%s", n.Pause.String()).remedy("relayctl flow resume --namespace "+n.Name()+", when it may be written to again"))
	}

	return found
}

func openStream(ctx context.Context, w *World) []Finding {
	where := "stream " + topology.StreamName(w.Flow)

	stream, err := topology.Open(ctx, w.js, w.Flow)

	switch {
	case errors.Is(err, topology.ErrNoStream):
		return one(fail(where, "flow %s has no stream yet", w.Flow))
	case errors.Is(err, topology.ErrForeignStream), errors.Is(err, topology.ErrConfigDiffers):
		return one(refused(fail(where, "%s", reason(err))).remedy("undo what changed the stream (nats stream edit), or delete the flow and make it again"))
	case err != nil:
		return one(fail(where, "%s", reason(err)).remedy("look at nats-server's log"))
	}

	state, config, err := stream.State(ctx)
	if err != nil {
		return one(fail(where, "%s", reason(err)).remedy("look at nats-server's log"))
	}

	tail, err := stream.Tail(ctx)
	if err != nil {
		return one(fail(where, "its last message cannot be read: %s", reason(err)).remedy("relayctl flow init makes message 1 of an empty stream"))
	}

	w.stream, w.state, w.maxBytes, w.tail = stream, state, config.MaxBytes, tail

	return nil
}

func bucket(ctx context.Context, w *World, name string, expires func(jetstream.KeyValueStatus) bool) []Finding {
	where := "bucket " + name

	kv, err := w.js.KeyValue(ctx, name)
	if errors.Is(err, jetstream.ErrBucketNotFound) {
		return one(fail(where, "it is missing"))
	}

	if err != nil {
		return one(unknown(where, reason(err)))
	}

	status, err := kv.Status(ctx)

	switch {
	case err != nil:
		return one(unknown(where, reason(err)))
	case !expires(status):
		return one(fail(where, "its keys never expire"))
	default:
		return nil
	}
}

// bucketReplicas compares what nats-server says now: operators change the number
// of replicas of a running stream.
func bucketReplicas(ctx context.Context, w *World) []Finding {
	var found []Finding

	for _, name := range []string{topology.OwnersBucket, topology.StatsBucket} {
		stream, err := w.js.Stream(ctx, "KV_"+name) // the stream of a bucket
		if err != nil {
			found = append(found, unknown("bucket "+name, reason(err)))

			continue
		}

		if n := stream.CachedInfo().Config.Replicas; n < w.stream.Replicas {
			found = append(found, warn("bucket "+name, "it has %s, stream %s has %d", plural(n, "replica"), w.stream.Name(), w.stream.Replicas))
		}
	}

	return found
}

func sameStream(_ context.Context, w *World) []Finding {
	var (
		foreign []string
		beyond  []string
	)

	for _, p := range slices.Sorted(maps.Keys(w.checkpoints)) {
		switch c := w.checkpoints[p]; {
		case c.StreamID != w.stream.StreamID:
			foreign = append(foreign, fmt.Sprintf("%s (stream id %s)", c.ID, c.StreamID))
		case p >= w.stream.Partitions:
			beyond = append(beyond, c.ID)
		}
	}

	where := checkpoint.Database + "." + checkpoint.Collection

	var found []Finding
	if len(foreign) > 0 {
		found = append(found, fail(where, "%s of another stream than %s: %s", plural(len(foreign), "checkpoint"), w.stream.StreamID, strings.Join(foreign, ", ")))
	}

	if len(beyond) > 0 {
		found = append(found, fail(where, "the stream has %d partitions, but there is %s", w.stream.Partitions, strings.Join(beyond, ", ")))
	}

	return found
}

// holds looks at both ends of the stream: its head may have been purged too
// far, its tail may be lost.
func holds(_ context.Context, w *World) []Finding {
	var found []Finding

	for _, p := range slices.Sorted(maps.Keys(w.checkpoints)) {
		c := w.checkpoints[p]
		sequence := c.StreamSequence()

		if c.StreamGeneration() == w.tail.Generation && w.state.FirstSeq > sequence+1 {
			found = append(found, fail(c.ID, "the stream begins at %d, the checkpoint is at %d", w.state.FirstSeq, sequence))
		}

		if sequence > w.state.LastSeq {
			found = append(found, fail(c.ID, "the checkpoint is at %d, the stream ends at %d: its tail is lost", sequence, w.state.LastSeq))
		}
	}

	return found
}

package capture

import (
	"context"
	"log/slog"

	"github.com/atlas-relay/atlas-relay/pkg/telemetry"
	"github.com/atlas-relay/atlas-relay/pkg/topology"
)

// replaced tells whether the stream that was seen is gone, and this one was made
// in its place because an operator has accepted the gap. Then everything that was
// known of the old one is forgotten. An error is "not yet": message 1 comes after
// the stream.
func (c *Capture) replaced(ctx context.Context, live *topology.Stream) bool {
	if c.seen == nil || c.seen.StreamID == live.StreamID {
		return false
	}

	replaces, err := live.Replaces(ctx, c.seen.StreamID)
	if err != nil || !replaces {
		return false
	}

	c.log.WarnContext(ctx, "an operator has accepted that the stream is gone; going on with the one made in its place",
		slog.String("stream_id", live.StreamID), slog.String("replaces", c.seen.StreamID))

	c.seen, c.lastTail, c.rewindTo, c.checked = nil, nil, nil, false

	return true
}

// awaitReplacement looks for such a stream.
func (c *Capture) awaitReplacement(ctx context.Context) bool {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()

	live, err := topology.Open(ctx, c.js, c.options.Flow)
	if err != nil {
		c.log.DebugContext(ctx, "cannot look for a stream made anew", slog.Any(telemetry.KeyError, err))

		return false
	}

	return c.replaced(ctx, live)
}

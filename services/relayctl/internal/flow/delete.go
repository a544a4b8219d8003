package flow

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"slices"

	"github.com/atlas-relay/atlas-relay/pkg/checkpoint"
	"github.com/atlas-relay/atlas-relay/pkg/mongodb"
	"github.com/atlas-relay/atlas-relay/pkg/parked"
	"github.com/atlas-relay/atlas-relay/pkg/pause"
	"github.com/atlas-relay/atlas-relay/pkg/topology"
)

// Delete removes the flow's stream, its keys in both buckets and what the target
// remembers of it, and returns what that was, also beside an error. The stream
// goes first: without it a crash in between leaves checkpoints that the next
// init refuses, the other way round processors would begin anew.
func Delete(ctx context.Context, s *DeleteSettings, log *slog.Logger) ([]string, error) {
	nc, js, err := connectNATS(ctx, s.NATS, log)
	if err != nil {
		return nil, err
	}
	defer nc.Close()

	// Both servers must be there before anything is removed.
	target, _, err := connectMongo(ctx, "TARGET_URI", s.TargetURI, false)
	if err != nil {
		return nil, err
	}

	defer func() { _ = mongodb.Disconnect(ctx, target) }() // the server ends what is left by itself

	deleted, err := topology.Delete(ctx, js, s.Flow)
	if err != nil {
		return deleted, err
	}

	documents, err := checkpoint.Delete(ctx, target, s.Flow)
	if err == nil {
		var setAside map[string]int64
		setAside, err = parked.Delete(ctx, target, s.Flow)
		maps.Copy(documents, setAside)
	}

	if err == nil {
		var paused map[string]int64
		paused, err = pause.Delete(ctx, target, s.Flow)
		maps.Copy(documents, paused)
	}

	for _, collection := range slices.Sorted(maps.Keys(documents)) {
		if n := documents[collection]; n > 0 {
			deleted = append(deleted, fmt.Sprintf("documents of %s.%s in the target: %d", checkpoint.Database, collection, n))
		}
	}

	if err != nil {
		return deleted, mongoTrouble("TARGET_URI", s.TargetURI, err)
	}

	return deleted, nil
}

package flow

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"slices"

	"github.com/nats-io/nats.go/jetstream"
	"go.mongodb.org/mongo-driver/v2/mongo"

	"github.com/atlas-relay/atlas-relay/pkg/audit"
	"github.com/atlas-relay/atlas-relay/pkg/checkpoint"
	"github.com/atlas-relay/atlas-relay/pkg/mongodb"
	"github.com/atlas-relay/atlas-relay/pkg/parked"
	"github.com/atlas-relay/atlas-relay/pkg/pause"
	"github.com/atlas-relay/atlas-relay/pkg/topology"
)

// Delete removes the flow's stream, its keys in both buckets and what the target
// remembers of it, and returns what that was, also beside an error. The stream
// goes first: without it a crash in between leaves checkpoints that the next
// init refuses, the other way round processors would begin anew. The records of
// gaps and of the audit stay, this deletion's among them: what cannot be recorded
// is not removed.
func Delete(ctx context.Context, s *DeleteSettings, by Operator, log *slog.Logger) (deleted []string, err error) {
	nc, js, err := connectNATS(ctx, &s.Connection, log)
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

	action := &audit.Action{Flow: s.Flow, Action: "flow delete", Selection: topology.StreamName(s.Flow) + ", keys, checkpoints and parked events"}
	err = audited(ctx, target, s.TargetURI, action, by, func() (changed int, err error) {
		deleted, changed, err = remove(ctx, js, target, s)

		return changed, err
	})

	return deleted, err
}

// remove returns what was removed, in words and as a number, also beside an error.
func remove(ctx context.Context, js jetstream.JetStream, target *mongo.Client, s *DeleteSettings) (deleted []string, changed int, err error) {
	deleted, err = topology.Delete(ctx, js, s.Flow)
	if err != nil {
		return deleted, len(deleted), err
	}

	changed = len(deleted)

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
			changed += int(n)
		}
	}

	return deleted, changed, mongoTroubleOrNil("TARGET_URI", s.TargetURI, err)
}

package main

import (
	"bytes"
	"encoding/json"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"

	"github.com/atlas-relay/atlas-relay/pkg/audit"
	"github.com/atlas-relay/atlas-relay/pkg/checkpoint"
	"github.com/atlas-relay/atlas-relay/pkg/mongotest"
	"github.com/atlas-relay/atlas-relay/pkg/natstest"
	"github.com/atlas-relay/atlas-relay/pkg/settings"
)

// TestRolesAreEnoughForRelayctl runs every command that asks MongoDB, with users who have the roles of deploy/mongodb and
// nothing else, through a flow's life: made, its history lost, gap and divergence accepted, deleted.
func TestRolesAreEnoughForRelayctl(t *testing.T) {
	t.Parallel()

	const sourceFile, targetFile = "../../deploy/mongodb/source-role.js", "../../deploy/mongodb/relayctl-role.js"

	source := mongotest.New(t, mongotest.Options{Username: "root", Password: "root", OplogMaxEntries: 100})
	target := mongotest.New(t, mongotest.Options{Username: "root", Password: "root"})
	sourceRoot, targetRoot := source.Client(t), target.Client(t)
	sourceWire, targetWire := source.NewWire(t), target.NewWire(t)
	c := &clinic{source: source, target: target, nats: natstest.New(t)}
	c.env = map[string]string{
		"FLOW": "a-b", "NATS_URL": c.nats.URL(), "STREAM_MAX_BYTES": "64MiB", "PARTITIONS": "4", "WITHOUT_EXISTING": "true", "DDL": "on",
		"SOURCE_URI": sourceWire.Through(source.UserWith(t, sourceRoot, sourceFile)).Reveal(),
		"TARGET_URI": targetWire.Through(target.UserWith(t, targetRoot, targetFile)).Reveal(),
	}
	run := func(args ...string) string {
		r := c.run(t, args...)
		require.Zero(t, r.code, "%v: %s%s", args, r.out, r.errOut)
		require.Equal(t, slices.Contains(args, "json"), json.Valid([]byte(r.out)), "%v: %s", args, r.out)

		return r.out
	}

	_, err := sourceRoot.Database("shop").Collection("orders").InsertOne(t.Context(), bson.D{})
	require.NoError(t, err)
	_, err = targetRoot.Database("shop").Collection("orders").InsertOne(t.Context(), bson.D{})
	require.NoError(t, err)

	_, err = sourceRoot.Database("shop").Collection("items").Indexes().CreateOne(t.Context(), mongo.IndexModel{Keys: bson.D{{Key: "a", Value: 1}}})
	require.NoError(t, err)

	run("flow", "init")
	run("flow", "show")

	found, _ := c.examine(t)
	require.Empty(t, ill(found), "%v", found)

	forget(t, sourceRoot)
	require.Contains(t, run("flow", "accept-gap", "--reason", "a test", "--dry-run", "-o", "json"), `"dry_run": true`)
	run("flow", "accept-gap", "--reason", "a test", "--yes")

	_, err = targetRoot.Database(checkpoint.Database).Collection(checkpoint.Unsupported).InsertOne(t.Context(),
		checkpoint.UnsupportedDocument{ID: "a-b/drop", Flow: "a-b", DB: "shop", Operation: "drop", Events: 2, Diverges: true})
	require.NoError(t, err)
	require.Contains(t, run("flow", "accept-divergence", "--reason", "compared", "--dry-run", "-o", "json"), "drop on shop")
	require.Equal(t, 2, strings.Count(run("flow", "accept-divergence", "--reason", "compared", "--yes"), "accepted:"))

	// What cannot be recorded is not removed.
	r := (&clinic{source: source, target: target, nats: c.nats, env: withTarget(c.env, target.UserWith(t, targetRoot, "../../deploy/mongodb/verify-role.js"))}).run(t, "flow", "delete", "--yes")
	require.Equal(t, 2, r.code, r.errOut)
	require.Contains(t, r.errOut, "atlas_relay.audit")
	run("flow", "show")

	run("flow", "delete", "--yes", "--as", "ann", "--reason", "a test", "-o", "json")
	requireAudit(t, targetRoot)

	for _, command := range sourceWire.Commands() {
		require.NotContains(t, []string{"insert", "update", "delete", "findAndModify", "bulkWrite", "create", "createIndexes", "drop", "appendOplogNote"},
			command.Name, "a write to the source")
	}

	mongotest.RequireExact(t, mongotest.Role(t, targetFile), targetWire.Commands())
	mongotest.RequireExact(t, mongotest.Role(t, sourceFile), sourceWire.Commands(), "config.version find") // on mongos only
}

func withTarget(env map[string]string, uri settings.URI) map[string]string {
	other := maps.Clone(env)
	other["TARGET_URI"] = uri.Reveal()

	return other
}

// requireAudit: who did what is kept, also of a flow that is gone.
func requireAudit(t *testing.T, target *mongo.Client) {
	t.Helper()

	actions, err := audit.List(t.Context(), target, "a-b", "", 10)
	require.NoError(t, err)

	var names []string
	for _, action := range actions {
		names = append(names, action.Action)
		require.NotNil(t, action.End, action.Action)
	}

	require.Equal(t, []string{"flow delete", "flow accept-divergence", "flow accept-gap", "flow init"}, names)
	require.Equal(t, "ann", actions[0].Who)
	require.Equal(t, "a test", actions[0].Why)
	require.Contains(t, actions[1].Who, "@", "user and host, where nobody says more")
}

// forget writes so much that the oplog begins behind what was there before.
func forget(t *testing.T, source *mongo.Client) {
	t.Helper()

	for range 30 {
		documents := make([]any, 1000)
		for i := range documents {
			documents[i] = bson.D{{Key: "_id", Value: bson.NewObjectID()}}
		}

		_, err := source.Database("shop").Collection("noise").InsertMany(t.Context(), documents)
		require.NoError(t, err)
	}
}

// withoutLists is a copy of a role's file that may not list collections.
func withoutLists(t *testing.T, path string) string {
	t.Helper()

	content, err := os.ReadFile(path)
	require.NoError(t, err)
	require.Contains(t, string(content), `"listCollections", `)

	less := filepath.Join(t.TempDir(), "role.js")
	require.NoError(t, os.WriteFile(less, bytes.ReplaceAll(content, []byte(`"listCollections", `), nil), 0o600))

	return less
}

// TestDoctorFindsMissingRights gives each side the role of somebody else.
func TestDoctorFindsMissingRights(t *testing.T) {
	t.Parallel()

	guarded := mongotest.Options{Username: "root", Password: "root"}
	c := &clinic{source: mongotest.New(t, guarded), target: mongotest.New(t, guarded), nats: natstest.New(t)}
	_, err := c.source.Client(t).Database("shop").Collection("orders").InsertOne(t.Context(), bson.D{})
	require.NoError(t, err)

	c.env = map[string]string{
		"FLOW": "a-b", "NATS_URL": c.nats.URL(), "STREAM_MAX_BYTES": "64MiB",
		"SOURCE_URI": c.source.UserWith(t, c.source.Client(t), withoutLists(t, "../../deploy/mongodb/target-role.js")).Reveal(),
		"TARGET_URI": c.target.UserWith(t, c.target.Client(t), "../../deploy/mongodb/stats-role.js").Reveal(),
	}

	found, code := c.examine(t)
	require.Equal(t, map[string]int{"SRC005": 1, "SRC006": 1, "TGT004": 1, "STR001": 1}, ill(found), "%v", found)
	require.Equal(t, 2, code)

	for check, file := range map[string]string{"SRC005": "source-role.js", "SRC006": "source-role.js", "TGT004": "target-role.js"} {
		require.Contains(t, found[check][0].Remedy, file)
		require.NotContains(t, found[check][0].What, "lsid")
	}
}

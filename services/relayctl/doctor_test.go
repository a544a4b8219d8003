package main

import (
	"encoding/json"
	"fmt"
	"maps"
	"testing"

	"github.com/stretchr/testify/require"
	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"

	"github.com/atlas-relay/atlas-relay/pkg/checkpoint"
	"github.com/atlas-relay/atlas-relay/pkg/mongotest"
	"github.com/atlas-relay/atlas-relay/pkg/natstest"
	"github.com/atlas-relay/atlas-relay/pkg/preflight"
)

// clinic is a source and a target of its own, and a NATS.
type clinic struct {
	source, target *mongotest.Server
	nats           *natstest.Server
	env            map[string]string
}

func newClinic(t *testing.T, o natstest.Options) *clinic {
	t.Helper()

	c := &clinic{
		source: mongotest.New(t, mongotest.Options{}), target: mongotest.New(t, mongotest.Options{}), nats: natstest.Start(t, o),
	}
	c.env = map[string]string{
		"FLOW": "a-b", "NATS_URL": c.nats.URL(), "STREAM_MAX_BYTES": "64MiB",
		"SOURCE_URI": c.source.URI().Reveal(), "TARGET_URI": c.target.URI().Reveal(),
	}

	return c
}

func (c *clinic) run(t *testing.T, args ...string) result {
	t.Helper()

	environ := []string{"NO_COLOR=1"}
	for name, value := range c.env {
		environ = append(environ, name+"="+value)
	}

	return relayctl(t, environ, args...)
}

// examine returns doctor's findings that are not ok, and its exit code.
func (c *clinic) examine(t *testing.T) (map[string][]preflight.Finding, int) {
	t.Helper()

	r := c.run(t, "doctor", "-o", "json")

	var answer struct {
		Checks []preflight.Finding `json:"checks"`
	}
	require.NoError(t, json.Unmarshal([]byte(r.out), &answer), "%s%s", r.out, r.errOut)

	found := make(map[string][]preflight.Finding)

	for _, f := range answer.Checks {
		require.NotEmpty(t, f.Code)
		require.NotEmpty(t, f.What)
		require.Equal(t, f.Status == preflight.OK, f.OK)

		if f.Status == preflight.Failed || f.Status == preflight.Warning {
			require.NotEmpty(t, f.Why, f.Code)
			require.NotEmpty(t, f.Remedy, f.Code)
			require.NotEmpty(t, f.Where, f.Code)
		}

		if f.Status == preflight.Unknown || f.Status == preflight.Skipped {
			require.NotEmpty(t, f.Why, f.Code)
		}

		if !f.OK {
			found[f.Code] = append(found[f.Code], f)
		}
	}

	return found, r.code
}

// ill leaves out what could not be told.
func ill(found map[string][]preflight.Finding) map[string]int {
	counts := make(map[string]int)

	for code, list := range found {
		for _, f := range list {
			if f.Status == preflight.Failed || f.Status == preflight.Warning {
				counts[code]++
			}
		}
	}

	return counts
}

func TestDoctorFindsNothingWhereAllIsWell(t *testing.T) {
	t.Parallel()

	c := newClinic(t, natstest.Options{})
	made := c.run(t, "flow", "init")
	require.Zero(t, made.code, made.errOut)

	found, code := c.examine(t)
	require.Empty(t, ill(found), "%v", found)
	require.Zero(t, code)

	text := c.run(t, "doctor", "--all")
	require.Zero(t, text.code)
	require.Empty(t, text.errOut)
	require.Contains(t, text.out, "✓ SRC001")
	require.NotContains(t, text.out, "\x1b[")

	checkpoints, err := checkpoint.Checkpoints(c.target.Client(t)).CountDocuments(t.Context(), bson.D{})
	require.NoError(t, err)
	require.Zero(t, checkpoints, "the trial left something")
}

// TestDoctorFindsTwentyMistakesInOneRun: each mistake is one finding of its own.
func TestDoctorFindsTwentyMistakesInOneRun(t *testing.T) {
	t.Parallel()

	c := newClinic(t, natstest.Options{MaxPayload: 256 << 10})
	made := c.run(t, "flow", "init", "--partitions", "8")
	require.Zero(t, made.code, made.errOut)

	js := c.nats.JetStream(t)
	require.NoError(t, js.DeleteKeyValue(t.Context(), "RELAY_OWNERS")) // STR003
	require.NoError(t, js.DeleteKeyValue(t.Context(), "RELAY_STATS"))  // STR004
	c.seedSource(t)                                                    // SRC008 ×3, TGT006 ×3, TGT009
	c.seedCheckpoints(t)                                               // CHK002 ×2
	// STR002
	// CFG005 ×3
	// CFG005
	// CFG005
	// CFG006 ×3
	maps.Copy(c.env, map[string]string{
		"PARTITIONS":      "4",
		"STREAM_REPLICAS": "7", "STREAM_PUBLISH": "loud", "DDL": "maybe",
		"STREAM_MAX_BYTES":   "1KiB",
		"INCLUDE_NAMESPACES": "",
		"WITHOUT_EXISTING":   "perhaps",
		"SOURCE_URL":         "mongodb://u:s3cret@x/", "NATS_CREDZ": "x", "PARTITION": "3",
	})

	found, code := c.examine(t)
	want := map[string]int{
		"CFG005": 5, "CFG006": 3, "STR002": 1, "STR003": 1, "STR004": 1, "SRC008": 3, "TGT006": 3, "TGT009": 1, "CHK002": 2, "NTS005": 1,
	}
	require.Equal(t, want, ill(found), "%v", found)
	require.Equal(t, 2, code)

	total := 0
	for _, n := range want {
		total += n
	}

	require.GreaterOrEqual(t, total, 20)
	require.NotContains(t, fmt.Sprint(found), "s3cret")
}

func (c *clinic) seedSource(t *testing.T) {
	t.Helper()

	source, target := c.source.Client(t).Database("shop"), c.target.Client(t).Database("shop")
	ctx := t.Context()

	require.NoError(t, source.CreateCollection(ctx, "log", options.CreateCollection().SetCapped(true).SetSizeInBytes(4096)))
	require.NoError(t, source.CreateCollection(ctx, "names", options.CreateCollection().SetCollation(&options.Collation{Locale: "de"})))
	require.NoError(t, source.CreateCollection(ctx, "orders"))
	require.NoError(t, source.CreateView(ctx, "open", "orders", bson.A{}))

	validator := bson.D{{Key: "total", Value: bson.D{{Key: "$gt", Value: 0}}}}
	require.NoError(t, target.CreateCollection(ctx, "orders", options.CreateCollection().SetValidator(validator)))
	require.NoError(t, target.CreateCollection(ctx, "log"))
	require.NoError(t, target.CreateCollection(ctx, "names"))

	for db, unique := range map[*mongo.Database]bool{source: true, target: false} {
		_, err := db.Collection("orders").Indexes().CreateOne(ctx, mongo.IndexModel{
			Keys: bson.D{{Key: "number", Value: 1}}, Options: options.Index().SetUnique(unique),
		})
		require.NoError(t, err)
	}
}

func (c *clinic) seedCheckpoints(t *testing.T) {
	t.Helper()

	_, err := checkpoint.Checkpoints(c.target.Client(t)).InsertMany(t.Context(), []any{
		checkpoint.Document{ID: "a-b/00", Flow: "a-b", Place: checkpoint.Place{StreamID: "stranger", ResumeToken: bson.Raw{5, 0, 0, 0, 0}}},
		checkpoint.Document{
			ID: "a-b/31", Flow: "a-b", Partition: 31,
			Place: checkpoint.Place{StreamID: c.streamID(t), ResumeToken: bson.Raw{5, 0, 0, 0, 0}},
		},
	})
	require.NoError(t, err)
}

func (c *clinic) streamID(t *testing.T) string {
	t.Helper()

	info, err := c.nats.JetStream(t).Stream(t.Context(), "CDC_"+c.env["FLOW"])
	require.NoError(t, err)

	return info.CachedInfo().Config.Metadata["relay.stream_id"]
}

// TestDoctorFindsWhatExcludesOtherMistakes: set-ups that cannot be one.
func TestDoctorFindsWhatExcludesOtherMistakes(t *testing.T) {
	t.Parallel()

	c := newClinic(t, natstest.Options{})
	alone := mongotest.New(t, mongotest.Options{Standalone: true})
	deaf := natstest.Start(t, natstest.Options{WithoutJetStream: true})
	narrow := natstest.Start(t, natstest.Options{MaxPayload: 2048})
	guarded := natstest.Start(t, natstest.Options{Username: "u", Password: "p"})
	const away = "127.0.0.1:1"

	tests := map[string]struct {
		set  map[string]string
		want map[string]int
		code int
	}{
		"no stream":         {nil, map[string]int{"STR001": 1}, 1},
		"source standalone": {map[string]string{"SOURCE_URI": alone.URI().Reveal()}, map[string]int{"SRC002": 1, "STR001": 1}, 2},
		"target standalone": {map[string]string{"TARGET_URI": alone.URI().Reveal()}, map[string]int{"TGT002": 1, "STR001": 1}, 1},
		"same deployment": {
			map[string]string{"TARGET_URI": c.source.URI().Reveal() + "&appName=other"}, map[string]int{"TGT007": 1, "STR001": 1}, 2,
		},
		"all away": {
			map[string]string{"SOURCE_URI": "mongodb://u:s3cret@" + away + "/?directConnection=true", "TARGET_URI": "mongodb://" + away + "/?a=1", "NATS_URL": "nats://u:s3cret@" + away},
			map[string]int{"SRC001": 1, "TGT001": 1, "NTS001": 1},
			3,
		},
		"no JetStream": {map[string]string{"NATS_URL": deaf.URL()}, map[string]int{"NTS003": 1}, 2},
		"max_payload":  {map[string]string{"NATS_URL": narrow.URL()}, map[string]int{"NTS005": 1, "STR001": 1}, 2},
		"NATS refuses": {map[string]string{"NATS_URL": guarded.URL()}, map[string]int{"NTS001": 1}, 2},
		"no URIs":      {map[string]string{"SOURCE_URI": "", "TARGET_URI": "localhost"}, map[string]int{"CFG003": 1, "CFG004": 1, "STR001": 1}, 2},
		"flow's name":  {map[string]string{"FLOW": "A.B"}, map[string]int{"CFG001": 1}, 2},
	}

	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()

			mine := &clinic{source: c.source, target: c.target, nats: c.nats, env: make(map[string]string)}
			maps.Copy(mine.env, c.env)

			maps.Copy(mine.env, test.set)

			found, code := mine.examine(t)
			require.Equal(t, test.want, ill(found), "%v", found)
			require.Equal(t, test.code, code)
			require.NotContains(t, fmt.Sprint(found), "s3cret")
		})
	}
}

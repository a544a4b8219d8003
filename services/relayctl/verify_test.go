package main

import (
	"bytes"
	"encoding/json"
	"io"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"

	"github.com/atlas-relay/atlas-relay/pkg/checkpoint"
	"github.com/atlas-relay/atlas-relay/pkg/event"
	"github.com/atlas-relay/atlas-relay/pkg/mongotest"
	"github.com/atlas-relay/atlas-relay/pkg/natstest"
	"github.com/atlas-relay/atlas-relay/pkg/pause"
	"github.com/atlas-relay/atlas-relay/services/relayctl/internal/show"
	"github.com/atlas-relay/atlas-relay/services/relayctl/internal/verify"
)

// newVerifyClinic is a flow whose checkpoints say that everything until tomorrow is applied: nothing is in flight.
func newVerifyClinic(t *testing.T) *clinic {
	t.Helper()

	c := newClinic(t, natstest.Options{})
	c.env["INCLUDE_NAMESPACES"], c.env["PARTITIONS"], c.env["XDG_STATE_HOME"] = "shop.*", "2", t.TempDir()
	made := c.run(t, "flow", "init")
	require.Zero(t, made.code, made.errOut)
	c.applyAll(t)

	return c
}

func (c *clinic) applyAll(t *testing.T) {
	t.Helper()

	for partition := range 2 {
		_, err := checkpoint.Checkpoints(c.target.Client(t)).InsertOne(t.Context(), checkpoint.Document{
			ID: checkpoint.ID("a-b", partition), Flow: "a-b", Partition: partition,
			Place: checkpoint.Place{
				StreamID: c.streamID(t), ResumeToken: bson.Raw{5, 0, 0, 0, 0},
				Position: event.Position{T: uint32(time.Now().Add(24 * time.Hour).Unix())},
			},
		})
		require.NoError(t, err)
	}
}

// both puts numbered documents into shop.orders of both sides, and returns that of the target.
func (c *clinic) both(t *testing.T, count int) *mongo.Collection {
	t.Helper()

	documents := make([]any, count)
	for n := range documents {
		documents[n] = bson.D{{Key: "_id", Value: n}, {Key: "secret", Value: "hunter2"}}
	}

	source, target := c.source.Client(t).Database("shop"), c.target.Client(t).Database("shop")

	for _, db := range []*mongo.Database{source, target} {
		_, err := db.Collection("orders").InsertMany(t.Context(), documents)
		require.NoError(t, err)
	}

	return target.Collection("orders")
}

func (c *clinic) stateFile() string {
	return filepath.Join(c.env["XDG_STATE_HOME"], "atlas-relay", "verify-a-b.state")
}

func TestVerifyTellsWhetherSidesAreEqual(t *testing.T) {
	t.Parallel()

	c := newVerifyClinic(t)
	target := c.both(t, 10)

	r := c.run(t, "verify")
	require.Zero(t, r.code, r.errOut)
	require.True(t, strings.HasPrefix(r.out, "EQUAL  a-b\n  10 documents ("), r.out)
	require.NotContains(t, r.errOut, "\x1b", "no animation where there is no terminal")
	require.NoFileExists(t, c.stateFile())

	_, err := target.DeleteOne(t.Context(), bson.D{{Key: "_id", Value: 3}})
	require.NoError(t, err)
	_, err = target.UpdateByID(t.Context(), 7, bson.D{{Key: "$set", Value: bson.D{{Key: "secret", Value: "other"}}}})
	require.NoError(t, err)

	r = c.run(t, "verify", "--namespace", "shop.orders")
	require.Equal(t, 1, r.code, r.errOut)
	require.Contains(t, r.out, `missing          shop.orders  {"$numberInt":"3"}`)
	require.Contains(t, r.out, `different        shop.orders  {"$numberInt":"7"}  at secret`)
	require.NotContains(t, r.out+r.errOut, "hunter2")

	r = c.run(t, "verify", "--show-values", "-o", "json")
	require.Equal(t, 1, r.code, r.errOut)

	var report verify.Report
	require.NoError(t, json.Unmarshal([]byte(r.out), &report))
	require.Equal(t, verify.Unequal, report.Outcome)
	require.Equal(t, int64(2), report.Totals.Differences)
	require.Contains(t, r.out, `hunter2`)

	_, err = checkpoint.Checkpoints(c.target.Client(t)).DeleteMany(t.Context(), bson.D{})
	require.NoError(t, err)

	r = c.run(t, "verify", "--patience", "1s")
	require.Equal(t, 1, r.code, r.errOut)
	require.Contains(t, r.out, "NOT SETTLED  a-b")
	require.Contains(t, r.out, "relayctl status says whether the flow moves")
}

// While the flow is paused nothing can settle: that is said at once, and again with the outcome, with what to do.
func TestVerifyOfAPausedFlow(t *testing.T) {
	t.Parallel()

	c := newVerifyClinic(t)
	target := c.both(t, 3)
	_, err := checkpoint.Checkpoints(c.target.Client(t)).DeleteMany(t.Context(), bson.D{})
	require.NoError(t, err)
	_, err = target.DeleteOne(t.Context(), bson.D{{Key: "_id", Value: 1}})
	require.NoError(t, err)
	_, err = pause.Begin(t.Context(), c.target.Client(t), "a-b", pause.Pause{By: "ann", Reason: "upgrade", Since: time.Now()})
	require.NoError(t, err)
	_, err = pause.BeginNamespaces(t.Context(), c.target.Client(t), "a-b", []event.Namespace{{DB: "stock"}}, pause.Pause{By: "bob"})
	require.NoError(t, err)

	r := c.run(t, "verify", "--patience", "1s", "--namespace", "shop.orders")
	require.Equal(t, 1, r.code, r.errOut)
	require.Contains(t, r.errOut, "flow a-b is paused by ann since ")
	require.Contains(t, r.errOut, "cannot settle, however long it is waited for; next: relayctl flow resume")
	require.Contains(t, r.out, "NOT SETTLED  a-b")
	require.Contains(t, r.out, ": upgrade: what is not applied because of that cannot settle")
	require.Contains(t, r.out, "next: relayctl flow resume")
	require.NotContains(t, r.out+r.errOut, "stock", "it is not compared")

	r = c.run(t, "verify", "--patience", "1s", "-o", "json")

	var report verify.Report
	require.NoError(t, json.Unmarshal([]byte(r.out), &report))
	require.Contains(t, report.Paused, "stock is paused by bob")

	_, err = pause.End(t.Context(), c.target.Client(t), "a-b")
	require.NoError(t, err)

	r = c.run(t, "verify", "--patience", "1s", "--namespace", "shop.orders")
	require.NotContains(t, r.out+r.errOut, "paused")
}

// TestVerifyGoesOnAfterCtrlC: the state says how far it was, and what was found.
func TestVerifyGoesOnAfterCtrlC(t *testing.T) {
	t.Parallel()

	c := newVerifyClinic(t)
	target := c.both(t, 3000)

	for _, id := range []int{0, 1, 2999} {
		_, err := target.DeleteOne(t.Context(), bson.D{{Key: "_id", Value: id}})
		require.NoError(t, err)
	}

	cmd := exec.CommandContext(t.Context(), os.Args[0], "verify", "--rate", "200", "--jobs", "1")
	cmd.Env = []string{asProgram + "=1"}

	for name, value := range c.env {
		cmd.Env = append(cmd.Env, name+"="+value)
	}

	var out bytes.Buffer

	cmd.Stdout = &out
	messages, err := cmd.StderrPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())

	ended := make(chan string, 1)

	go func() {
		text, _ := io.ReadAll(messages)
		ended <- string(text)
	}()

	require.Eventually(t, func() bool {
		state, err := verify.LoadState(c.stateFile())

		return err == nil && state.Totals.Documents > 0 && state.Totals.Differences > 0
	}, time.Minute, 50*time.Millisecond, "kept while it runs")

	require.NoError(t, cmd.Process.Signal(os.Interrupt))

	text := <-ended
	require.Error(t, cmd.Wait())
	require.Equal(t, 1, cmd.ProcessState.ExitCode())
	require.Contains(t, text, "relayctl verify --resume")

	state, err := verify.LoadState(c.stateFile())
	require.NoError(t, err)
	require.Less(t, state.Totals.Documents, int64(3000))

	r := c.run(t, "verify", "--resume", "--namespace", "shop.orders")
	require.Equal(t, 2, r.code)
	require.Contains(t, r.errOut, "give the same FLOW and --namespace as before")

	r = c.run(t, "verify", "--resume", "-o", "json")
	require.Equal(t, 1, r.code, r.errOut)

	var report verify.Report
	require.NoError(t, json.Unmarshal([]byte(r.out), &report))
	require.Equal(t, int64(3000), report.Totals.Documents)
	require.Equal(t, int64(3), report.Totals.Differences)
	require.NoFileExists(t, c.stateFile())
}

// TestVerifyKeepsItsStateToItself: a run that another one of the flow would write over refuses.
func TestVerifyKeepsItsStateToItself(t *testing.T) {
	t.Parallel()

	c := newVerifyClinic(t)
	c.both(t, 10)

	held, err := lockState(c.stateFile())
	require.NoError(t, err)

	for _, args := range [][]string{{"verify"}, {"verify", "--resume"}} {
		r := c.run(t, args...)
		require.Equal(t, 2, r.code, r.errOut)
		require.Contains(t, r.errOut, "another relayctl verify runs with the state "+c.stateFile())
		require.Contains(t, r.errOut, "--state")
	}

	r := c.run(t, "verify", "--state", filepath.Join(t.TempDir(), "mine"))
	require.Zero(t, r.code, r.errOut)

	held()

	r = c.run(t, "verify")
	require.Zero(t, r.code, r.errOut)
}

func TestVerifyRefuses(t *testing.T) {
	t.Parallel()

	c := newVerifyClinic(t)
	damaged := filepath.Join(t.TempDir(), "state")
	require.NoError(t, os.WriteFile(damaged, []byte("no state"), 0o600))

	for name, test := range map[string]struct {
		args []string
		set  map[string]string
		code int
		says string
	}{
		"all flags at once":        {[]string{"--jobs", "0", "--rounds", "99", "--namespace", "shop", "--rate", "-1"}, nil, 2, `--jobs 0 is not within 1 to 16; --rate -1 is negative; --rounds 99 is not within 1 to 10; --namespace "shop"`},
		"out of the flow":          {[]string{"--namespace", "crm.people"}, nil, 2, "the flow a-b does not replicate it"},
		"the relay's own":          {[]string{"--namespace", "atlas_relay.checkpoints"}, nil, 2, "does not replicate it"},
		"nothing there":            {nil, nil, 2, "no collection of the flow exists"},
		"nothing to go on from":    {[]string{"--resume"}, nil, 2, "there is no interrupted verification"},
		"a damaged state":          {[]string{"--resume", "--state", damaged}, nil, 2, "no state of a verification"},
		"no flow":                  {nil, map[string]string{"FLOW": "other"}, 2, "relayctl flow init"},
		"no URIs":                  {nil, map[string]string{"SOURCE_URI": "", "TARGET_URI": ""}, 2, "TARGET_URI"},
		"nowhere to keep a state":  {nil, map[string]string{"XDG_STATE_HOME": "", "HOME": ""}, 2, "name a file with --state"},
		"the target is away":       {[]string{"--wait", "1s"}, map[string]string{"TARGET_URI": "mongodb://127.0.0.1:1/?serverSelectionTimeoutMS=100"}, 3, "TARGET_URI"},
		"NATS is away":             {[]string{"--wait", "1s"}, map[string]string{"NATS_URL": "nats://127.0.0.1:1"}, 3, "NATS"},
		"the source is standalone": {nil, map[string]string{"SOURCE_URI": mongotest.New(t, mongotest.Options{Standalone: true}).URI().Reveal()}, 2, "standalone"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()

			mine := &clinic{env: maps.Clone(c.env)}
			mine.env["XDG_STATE_HOME"] = t.TempDir()
			maps.Copy(mine.env, test.set)

			r := mine.run(t, append([]string{"verify"}, test.args...)...)
			require.Equal(t, test.code, r.code, r.errOut)
			require.Contains(t, r.errOut, test.says)
			require.Regexp(t, "next: |for example ", r.errOut)
			require.Empty(t, r.out)
		})
	}
}

// TestReportsOfVerify pins what people and programs read.
func TestReportsOfVerify(t *testing.T) {
	t.Parallel()

	began := time.Date(2026, 1, 31, 8, 30, 0, 0, time.UTC)
	report := &verify.Report{
		Flow: "a-b", StreamID: "3f2a", Outcome: verify.Unequal, Began: began, Ended: began.Add(90 * time.Second),
		Totals: verify.Totals{Namespaces: 3, Documents: 1_234_567, Bytes: 617 << 20, Suspects: 40, Differences: 3, NotSettled: 1, Explained: 1},
		Differences: []verify.Difference{
			{Namespace: "shop.orders", ID: json.RawMessage(`{"$oid":"65a5b2c3d4e5f60718293a4b"}`), Kind: verify.Missing, Cause: verify.DeadLetter, Letter: "a-b/3f2a/0/03/000000000000007"},
			{Namespace: "shop.orders", ID: json.RawMessage(`"k"`), Kind: verify.FieldOrder, Field: "address", Cause: verify.Unexplained},
			{Namespace: "shop.orders", ID: json.RawMessage(`7`), Kind: verify.Different, Field: "items.0.price", Cause: verify.Unexplained, Source: `{"$numberInt":"1"}`, Target: `{"$numberInt":"2"}`},
			{Namespace: "shop.carts", ID: json.RawMessage(`8`), Cause: verify.Unknown},
		},
		Catalog: []verify.CatalogDifference{
			{Namespace: "shop.orders", What: "option", Name: "validator", Kind: verify.Different, Cause: verify.Unexplained, Source: `{"a":{"$gt":0}}`, Target: `{"b":{"$gt":0}}`},
			{Namespace: "shop.orders", What: "index", Name: "by_date", Kind: verify.Different, Field: "unique", Cause: verify.Unexplained, Source: "true"},
			{Namespace: "shop.orders", What: "index", Name: "by_place", Kind: verify.Missing, Cause: verify.Unknown, Source: `{"key":{"place":1},"name":"by_place"}`},
		},
		Notes: []string{"shop.open: documents are not compared: a view has no change events"},
	}

	var text bytes.Buffer
	for _, d := range report.Differences {
		text.WriteString(show.Difference(d))
	}

	require.NoError(t, show.Report(&text, report))
	requireGolden(t, "verify", text.String())

	var encoded bytes.Buffer
	require.NoError(t, (&program{streams: streams{out: &encoded}}).printJSON(report))
	requireGolden(t, "verify-json", encoded.String())

	text.Reset()
	require.NoError(t, show.Report(&text, &verify.Report{Flow: "a-b", Outcome: verify.Equal, Complete: true, Began: began, Ended: began}))
	requireGolden(t, "verify-equal", text.String())
}

// TestRoleIsEnoughForVerify on both sides, and each right of it is needed.
func TestRoleIsEnoughForVerify(t *testing.T) {
	t.Parallel()

	const file = "../../deploy/mongodb/verify-role.js"

	guarded := mongotest.Options{Username: "root", Password: "root"}
	c := &clinic{source: mongotest.New(t, guarded), target: mongotest.New(t, guarded), nats: natstest.New(t)}
	sourceRoot, targetRoot := c.source.Client(t), c.target.Client(t)
	c.env = map[string]string{
		"FLOW": "a-b", "NATS_URL": c.nats.URL(), "STREAM_MAX_BYTES": "64MiB", "PARTITIONS": "2", "XDG_STATE_HOME": t.TempDir(),
		"SOURCE_URI": c.source.URI().Reveal(), "TARGET_URI": c.target.URI().Reveal(),
	}
	made := c.run(t, "flow", "init")
	require.Zero(t, made.code, made.errOut)
	c.applyAll(t)

	target := c.both(t, 10)
	_, err := target.DeleteOne(t.Context(), bson.D{{Key: "_id", Value: 3}})
	require.NoError(t, err)

	sourceWire, targetWire := c.source.NewWire(t), c.target.NewWire(t)
	c.env["SOURCE_URI"] = sourceWire.Through(c.source.UserWith(t, sourceRoot, file)).Reveal()
	c.env["TARGET_URI"] = targetWire.Through(c.target.UserWith(t, targetRoot, file)).Reveal()

	r := c.run(t, "verify")
	require.Equal(t, 1, r.code, r.errOut)
	require.Contains(t, r.out, "differences 1 ")
	require.NotContains(t, r.out, "note: ")

	for _, wire := range []*mongotest.Wire{sourceWire, targetWire} {
		mongotest.RequireExact(t, mongotest.Role(t, file), wire.Commands(), "config.version find") // on mongos only
	}

	// The listener's user does, without the indexes.
	c.env["SOURCE_URI"] = c.source.UserWith(t, sourceRoot, "../../deploy/mongodb/source-role.js").Reveal()

	r = c.run(t, "verify")
	require.Equal(t, 1, r.code, r.errOut)

	if strings.Contains(r.out, "note: ") { // a stand-in may ask for less than mongod
		require.Contains(t, r.out, "indexes are not compared")
	}
}

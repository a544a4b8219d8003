package preflight

import (
	"context"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/require"
	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/atlas-relay/atlas-relay/pkg/checkpoint"
	"github.com/atlas-relay/atlas-relay/pkg/event"
	"github.com/atlas-relay/atlas-relay/pkg/mongodb"
	"github.com/atlas-relay/atlas-relay/pkg/mongotest"
	"github.com/atlas-relay/atlas-relay/pkg/natstest"
	"github.com/atlas-relay/atlas-relay/pkg/pause"
	"github.com/atlas-relay/atlas-relay/pkg/topology"
)

func TestChecksAreWellFormed(t *testing.T) {
	t.Parallel()

	checks := Checks()
	require.GreaterOrEqual(t, len(checks), 20)

	known := make(map[string]bool)
	for _, c := range checks {
		require.Regexp(t, `^[A-Z]{3}[0-9]{3}$`, c.Code)
		require.False(t, known[c.Code], "%s twice", c.Code)
		known[c.Code] = true
		require.NotEmpty(t, c.What, c.Code)
		require.NotEmpty(t, c.Why, c.Code)
		require.NotEmpty(t, c.Remedy, c.Code)
		require.NotNil(t, c.run, c.Code)
	}

	for _, c := range checks {
		for _, need := range append(c.Needs, c.after...) {
			require.True(t, known[need], "%s needs %s, which is no check", c.Code, need)
		}
	}
}

func TestACheckIsSkippedWhenItsNeedFails(t *testing.T) {
	t.Parallel()

	ran := false
	findings := Run(t.Context(), New(Options{}), []Check{
		{Code: "B", What: "b", Needs: []string{"A"}, run: func(context.Context, *World) []Finding { ran = true; return nil }},
		{Code: "A", What: "a", Why: "w", Remedy: "r", run: func(context.Context, *World) []Finding { return one(fail("x", "broken")) }},
		{Code: "C", What: "c", Needs: []string{"nobody"}, run: func(context.Context, *World) []Finding { return nil }},
	})

	require.False(t, ran)
	require.Equal(t, Skipped, findings[0].Status)
	require.Contains(t, findings[0].Why, "A")
	require.Equal(t, Finding{Code: "A", Status: Failed, What: "broken", Where: "x", Why: "w", Remedy: "r"}, findings[1])
	require.True(t, findings[2].OK)
}

func TestExitCode(t *testing.T) {
	t.Parallel()

	failed, away, wrong := fail("", ""), unreachable(fail("", "")), refused(fail("", ""))

	require.Equal(t, 0, ExitCode([]Finding{warn("", ""), unknown("", ""), {Status: Skipped}}))
	require.Equal(t, 1, ExitCode([]Finding{failed, warn("", "")}))
	require.Equal(t, 3, ExitCode([]Finding{away, failed}))
	require.Equal(t, 2, ExitCode([]Finding{failed, wrong, away}))
}

func TestOlder(t *testing.T) {
	t.Parallel()

	for _, v := range []string{"2.14.9", "2.15.1", "2.15.1-beta.2", "v2.9.0"} {
		require.True(t, older(v, "2.15.2"), v)
	}

	for _, v := range []string{"2.15.2", "2.15.10", "3.0.0", "2.15.2-RC.1"} {
		require.False(t, older(v, "2.15.2"), v)
	}
}

func TestSameDeployment(t *testing.T) {
	t.Parallel()

	p, q := bson.NewObjectID(), bson.NewObjectID()
	set := process{id: p, set: "rs0", hosts: []string{"a:1", "b:1"}}

	require.NotEmpty(t, sameDeployment(set, process{id: p, set: "rs0"}))
	require.NotEmpty(t, sameDeployment(set, process{id: q, set: "rs0", hosts: []string{"b:1"}}))
	require.Empty(t, sameDeployment(set, process{id: q, set: "rs0", hosts: []string{"c:1"}}))
	require.Empty(t, sameDeployment(process{id: p, set: "rs0", hosts: []string{"localhost:1"}}, process{id: q, set: "rs0", hosts: []string{"localhost:1"}}))
	require.Empty(t, sameDeployment(process{id: p}, process{id: q}), "two mongos")
	require.Empty(t, sameDeployment(process{}, process{}))
}

func TestSkew(t *testing.T) {
	t.Parallel()

	now := time.Now()
	require.Zero(t, skewOf(now.Add(time.Second), now, now.Add(2*time.Second)))
	require.Equal(t, -3*time.Second, skewOf(now.Add(-3*time.Second), now, now.Add(time.Second)))
	require.Equal(t, 3*time.Second, skewOf(now.Add(4*time.Second), now, now.Add(time.Second)))

	d := deployment{skew: -1500 * time.Millisecond, skewed: true}
	require.Equal(t, Warning, d.clock()[0].Status)
	require.Empty(t, (&deployment{skewed: true}).clock())
	require.Equal(t, Unknown, (&deployment{}).clock()[0].Status)
}

func TestJudgeOplog(t *testing.T) {
	t.Parallel()

	const day = 24 * 3600

	tests := map[string]struct {
		history history
		want    Status
	}{
		"fresh deployment":   {history{first: 100, now: 200, tail: 150}, OK},
		"no stream":          {history{first: 100, now: 100 + 3*day, full: true}, OK},
		"lost":               {history{first: 100, now: 200, tail: 99}, Failed},
		"about to be lost":   {history{first: 100, now: 100 + 3*day, tail: 100 + day, full: true}, Warning},
		"short":              {history{first: 100, now: 100 + day/2, full: true}, Warning},
		"tail is up to date": {history{first: 100, now: 100 + 3*day, tail: 90 + 3*day, full: true}, OK},
	}

	for name, test := range tests {
		found := judgeOplog("x", test.history)
		if test.want == OK {
			require.Empty(t, found, name)
		} else {
			require.Equal(t, test.want, found[0].Status, name)
		}
	}
}

func TestWrites(t *testing.T) {
	t.Parallel()

	all := bson.D{{Key: "db", Value: ""}, {Key: "collection", Value: ""}}

	require.Empty(t, writes([]privilege{
		{Resource: all, Actions: []string{"find", "changeStream", "listCollections"}},
		{Resource: bson.D{{Key: "db", Value: "config"}, {Key: "collection", Value: "system.sessions"}}, Actions: []string{"insert"}},
	}))
	require.Equal(t, []string{"insert", "remove"}, writes([]privilege{{Resource: all, Actions: []string{"remove", "find", "insert"}}}))
	require.Equal(t, []string{"anyAction"}, writes([]privilege{{Resource: bson.D{{Key: "anyResource", Value: true}}, Actions: []string{"anyAction"}}}))
}

func TestRoomOfAnAccountWithALimit(t *testing.T) {
	t.Parallel()

	w := New(Options{MaxBytes: 1 << 30})
	w.account = &jetstream.AccountInfo{}
	w.account.Limits.MaxStore = 1 << 30
	require.Empty(t, room(t.Context(), w))

	w.account.ReservedStore = 1
	require.Equal(t, Failed, room(t.Context(), w)[0].Status)

	w.account.Limits.MaxStore = -1
	require.Equal(t, Unknown, room(t.Context(), w)[0].Status)

	w.stream, w.maxBytes, w.state.Bytes = &topology.Stream{}, 100, 79
	require.Empty(t, room(t.Context(), w))
}

func TestStreamMustHoldWhatFollowsTheCheckpoints(t *testing.T) {
	t.Parallel()

	at := func(first, last uint64, sequence int64) []Finding {
		w := New(Options{})
		w.state = jetstream.StreamState{FirstSeq: first, LastSeq: last}
		w.checkpoints = map[int]checkpoint.Document{0: {ID: "f/00", Place: checkpoint.Place{Sequence: sequence}}}

		return holds(t.Context(), w)
	}

	require.Empty(t, at(1, 10, 5))
	require.Empty(t, at(6, 10, 5))
	require.Empty(t, at(1, 10, 10))
	require.Len(t, at(7, 10, 5), 1)
	require.Len(t, at(1, 4, 5), 1)
}

func TestVersionsAndTopologies(t *testing.T) {
	t.Parallel()

	d := deployment{hello: mongodb.Hello{Topology: mongodb.Sharded, Version: "5.0.9"}}
	require.Empty(t, d.topology(fail("", "standalone")), "a mongos is well")
	require.Equal(t, Failed, d.version(leastTarget)[0].Status)

	d.hello.Version = "6.0.20"
	require.Equal(t, Warning, d.version(leastTarget)[0].Status)
	require.Equal(t, Failed, d.version(leastSource)[0].Status, "its events do not tell names with dots from paths")

	for _, version := range []string{"6.3.2", "7.0.0-rc1"} { // a release candidate counts as its release
		d.hello.Version = version
		require.Equal(t, older(version, "7.0.0"), len(d.version(leastSource)) > 0, version)
	}

	d.hello = mongodb.Hello{Topology: mongodb.ReplicaSet, SetName: "rs0"}
	require.Equal(t, Failed, d.topology(fail("", ""))[0].Status, "no primary")
}

func TestTargetThatSetsEmptyTimestamps(t *testing.T) {
	t.Parallel()

	for version, found := range map[string]int{
		"": 0, "8.2.1": 0, "8.0.0": 0, "7.3.4": 1, "7.1.0": 1, "7.0.13": 0, "7.0.12": 1, "6.3.2": 1, "6.0.17": 0, "6.0.16": 1,
	} {
		d := deployment{hello: mongodb.Hello{Version: version}}
		require.Len(t, d.emptyTimestamps(), found, version)
	}
}

func TestTargetThatIsShardedByAnotherKey(t *testing.T) {
	t.Parallel()

	key := func(key bson.D) bson.Raw {
		raw, err := bson.Marshal(key)
		require.NoError(t, err)

		return raw
	}
	list := []sharded{
		{Name: "shop.orders", Key: key(bson.D{{Key: "customer", Value: 1}})},
		{Name: "shop.items", Key: key(bson.D{{Key: "_id", Value: 1}, {Key: "part", Value: 1}})},
		{Name: "shop.a", Key: key(bson.D{{Key: "_id", Value: 1}})},
		{Name: "shop.b", Key: key(bson.D{{Key: "_id", Value: "hashed"}})},
		{Name: "shop.whole", Key: key(bson.D{{Key: "x", Value: 1}}), Unsplittable: true},
		{Name: "shop.gone", Key: key(bson.D{{Key: "x", Value: 1}}), Dropped: true},
		{Name: "other.orders", Key: key(bson.D{{Key: "x", Value: 1}})},
		{Name: "config.system.sessions", Key: key(bson.D{{Key: "x", Value: 1}})},
	}
	takes := func(ns event.Namespace) bool { return ns.DB != "other" }

	for version, status := range map[string]Status{"6.0.20": Failed, "7.0.0": Warning, "8.0.4": Warning} {
		found := judgeShardKeys(list, version, takes)
		require.Len(t, found, 2, version)

		for i, where := range []string{"shop.items", "shop.orders"} {
			require.Equal(t, status, found[i].Status, version)
			require.Equal(t, where, found[i].Where)
		}
	}

	w := New(Options{})
	w.target.client, w.target.borrowed = mongotest.Shared(t).Client(t), true
	w.target.hello = mongodb.Hello{Topology: mongodb.Sharded, Version: "8.0.4"}
	require.Empty(t, shardKeys(t.Context(), w), "a cluster without sharded collections")
}

func TestSourceOfAFlow(t *testing.T) {
	t.Parallel()

	with := mongodb.Hello{Topology: mongodb.Sharded, ClusterID: "1"}

	for name, test := range map[string]struct {
		source mongodb.Hello
		flow   string
		want   Status
	}{
		"same set":                 {mongodb.Hello{Topology: mongodb.ReplicaSet, SetName: "a"}, "replica set a", OK},
		"other set":                {mongodb.Hello{Topology: mongodb.ReplicaSet, SetName: "a"}, "replica set b", Failed},
		"same cluster":             {with, "sharded cluster 1", OK},
		"other cluster":            {with, "sharded cluster 2", Failed},
		"flow made without id":     {with, "sharded cluster", Unknown},
		"id cannot be read":        {mongodb.Hello{Topology: mongodb.Sharded}, "sharded cluster 1", Unknown},
		"neither has an id":        {mongodb.Hello{Topology: mongodb.Sharded}, "sharded cluster", Unknown},
		"cluster instead of a set": {with, "replica set a", Failed},
	} {
		w := New(Options{})
		w.source.hello, w.stream = test.source, &topology.Stream{Settings: topology.Settings{Source: test.flow}}
		found := sameSource(t.Context(), w)

		if test.want == OK {
			require.Empty(t, found, name)
		} else {
			require.Equal(t, test.want, found[0].Status, name)
		}
	}
}

func TestBucketsMustHaveTheStreamsReplicas(t *testing.T) {
	t.Parallel()

	w := New(Options{})
	w.js = natstest.New(t).JetStream(t)
	require.NoError(t, topology.CreateBuckets(t.Context(), w.js, 1))

	for replicas, want := range map[int]int{1: 0, 3: 2} {
		w.stream = &topology.Stream{Settings: topology.Settings{Replicas: replicas}}
		require.Len(t, bucketReplicas(t.Context(), w), want)
	}

	require.NoError(t, w.js.DeleteKeyValue(t.Context(), topology.OwnersBucket))
	require.Equal(t, Unknown, bucketReplicas(t.Context(), w)[0].Status)
}

// doctor says what is paused, by whom, since when and why, and which command ends it.
func TestAPauseIsTold(t *testing.T) {
	t.Parallel()

	flow := "paused-" + bson.NewObjectID().Hex()
	w := New(Options{Flow: flow})
	w.target.client = mongotest.Shared(t).Client(t)

	t.Cleanup(func() { _, _ = pause.Delete(context.WithoutCancel(t.Context()), w.target.client, flow) })

	require.Empty(t, isPaused(t.Context(), w))

	since := pause.Pause{By: "ann", Reason: "upgrade", Since: time.Date(2026, 11, 29, 12, 0, 0, 0, time.UTC)}
	_, err := pause.Begin(t.Context(), w.target.client, flow, since)
	require.NoError(t, err)
	_, err = pause.BeginNamespaces(t.Context(), w.target.client, flow, []event.Namespace{{DB: "shop", Coll: "orders"}}, since)
	require.NoError(t, err)

	found := isPaused(t.Context(), w)
	require.Len(t, found, 2)
	require.Equal(t, Finding{
		Status: Warning, Where: "flow " + flow, What: "paused by ann since 2026-11-29T12:00:00Z: upgrade", Remedy: "relayctl flow resume, when the target may be written to again",
	}, found[0])
	require.Equal(t, "shop.orders", found[1].Where)
	require.Contains(t, found[1].Remedy, "--namespace shop.orders")

	_, err = w.target.client.Database(checkpoint.Database).Collection(pause.Collection).UpdateByID(t.Context(), flow, bson.D{{Key: "$set", Value: bson.D{{Key: "pause", Value: 1}}}})
	require.NoError(t, err)

	found = isPaused(t.Context(), w)
	require.Equal(t, Failed, found[0].Status)
	require.Contains(t, found[0].Remedy, "or delete it")
}

package preflight

import (
	"context"
	"errors"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo/options"

	"github.com/atlas-relay/atlas-relay/pkg/event"
	"github.com/atlas-relay/atlas-relay/pkg/mongodb"
)

// Oldest versions that work: of a source disambiguatedPaths, which came with the rapid release 6.1, of a target the first
// that is tried. And the oldest that is advised.
const (
	leastSource  = "7.0.0"
	leastTarget  = "6.0.0"
	freshMongoDB = "7.0.0"
)

// shortWindow is the oplog window below which an ordinary night is too long.
const shortWindow = 24 * time.Hour

func sourceChecks() []Check {
	return []Check{
		{
			Code: "SRC001", What: "the source answers and knows the user",
			Why: "nothing can be captured", Remedy: "check SOURCE_URI, user and password, the Atlas network access list and TLS settings", Needs: []string{"CFG003"},
			run: func(ctx context.Context, w *World) []Finding { return w.source.connect(ctx) },
		},
		{
			Code: "SRC002", What: "the source has change streams (a replica set or mongos) and a primary",
			Why: "a standalone mongod has no change streams", Remedy: "start mongod with --replSet rs0 and run rs.initiate() once; a single node is enough",
			Needs: []string{"SRC001"},
			run: func(_ context.Context, w *World) []Finding {
				return w.source.topology(refused(fail(w.source.where(), "a standalone mongod")))
			},
		},
		{
			Code: "SRC003", What: "the source's version is " + leastSource + " or later",
			Why:    "events of older servers do not tell a field name with dots from a path, so an update may go into another field of the target without an error",
			Remedy: "upgrade the source; then compare with relayctl verify", Needs: []string{"SRC001"},
			run: func(_ context.Context, w *World) []Finding { return w.source.version(leastSource) },
		},
		{
			Code: "SRC004", What: "the source is the deployment that the flow was made with",
			Why: "a position of one deployment means nothing to another", Remedy: "let SOURCE_URI name the flow's source, or make another flow", Needs: []string{"SRC001", "STR001"},
			run: sameSource,
		},
		{
			Code: "SRC005", What: "the user may watch the whole deployment",
			Why: "the listener reads one change stream of all databases", Remedy: "grant find and changeStream on all collections: deploy/mongodb/source-role.js (Atlas: readAnyDatabase)",
			Needs: []string{"SRC002"}, run: watch,
		},
		{
			Code: "SRC006", What: "the user may list databases and collections of the source",
			Why: "pinned and unsupported collections cannot be told otherwise", Remedy: "grant listDatabases and listCollections: deploy/mongodb/source-role.js (Atlas: readAnyDatabase)",
			Needs: []string{"SRC001"}, run: readCatalog,
		},
		{
			Code: "SRC007", What: "the oplog reaches back behind the flow's last position, with room to spare",
			Why: "changes that leave the oplog before they are captured are lost for good", Remedy: "make the oplog larger (replSetResizeOplog; Atlas: minimum oplog window) and start the listener",
			Needs: []string{"SRC002"}, after: []string{"STR001"}, run: oplog,
		},
		{
			Code: "SRC008", What: "every namespace in scope can be replicated",
			Why: "its changes would be missing on the target, or the listener ends in FAILED", Remedy: "name it in EXCLUDE_NAMESPACES", Needs: []string{"SRC006"},
			run: scope,
		},
		{
			Code: "SRC009", What: "the source's user may read only",
			Why: "the relay never writes to the source: a right that it does not need can only be abused", Remedy: "give the listener a user with the role of deploy/mongodb/source-role.js (Atlas: readAnyDatabase)",
			Needs: []string{"SRC001"},
			run:   func(ctx context.Context, w *World) []Finding { return w.source.mayWrite(ctx) },
		},
		{
			Code: "SRC010", What: "the clocks of this host and of the source agree within 1 s",
			Why: "lag and history window are differences of both clocks", Remedy: "run NTP or chrony on both hosts", Needs: []string{"SRC001"},
			run: func(_ context.Context, w *World) []Finding { return w.source.clock() },
		},
	}
}

// topology returns standalone for a deployment that is one.
func (d *deployment) topology(standalone Finding) []Finding {
	switch {
	case errors.Is(d.hello.RequireReplicaSet(), mongodb.ErrStandalone):
		return one(standalone)
	case d.hello.Topology == mongodb.ReplicaSet && !d.hello.WritablePrimary:
		return one(unreachable(fail(d.where(), "replica set %s has no primary", d.hello.SetName)).
			remedy("look at rs.status(); run rs.initiate() if the set is new"))
	default:
		return nil
	}
}

func sameSource(_ context.Context, w *World) []Finding {
	mine, theirs := w.source.hello.Identity(), w.stream.Source

	switch {
	case theirs != "" && !mongodb.SameDeployment(mine, theirs):
		return one(refused(fail(w.source.where(), "it is %q, the flow was made with %q", mine, theirs)))
	case mine == string(mongodb.Sharded):
		return one(unknown(w.source.where(), "a sharded cluster whose id the user may not read: grant find on config.version (deploy/mongodb/source-role.js)"))
	case mine != theirs && mongodb.IsSharded(theirs):
		return one(unknown(w.source.where(), "a sharded cluster, and the flow was made without its id"))
	default:
		return nil
	}
}

// watch opens a change stream as the listener does, and closes it: rights are
// tried, not guessed from the names of roles.
func watch(ctx context.Context, w *World) []Finding {
	cursor, err := mongodb.Watch(ctx, w.source.client, options.ChangeStream())
	if err != nil {
		f := w.source.trouble(err)
		f.What = "the change stream of the deployment cannot be opened: " + reason(err)

		return one(f)
	}

	_ = cursor.Close(ctx) // the server ends it by itself

	return nil
}

func readCatalog(ctx context.Context, w *World) []Finding {
	var err error
	if w.catalog, err = mongodb.Catalog(ctx, w.source.client); err != nil {
		return one(w.source.trouble(err))
	}

	return nil
}

// scope lists what of the catalog a flow cannot carry.
func scope(_ context.Context, w *World) []Finding {
	var found []Finding

	for _, c := range w.catalog {
		ns := event.Namespace{DB: c.DB, Coll: c.Name}

		switch {
		case event.IsInternal(ns), !w.Filter.Takes(ns):
		case c.Type == "view" && w.DDL: // made like a collection
		case c.Type == "view":
			found = append(found, warn(ns.String(), "a view: it has no changes of its own, make it on the target by hand"))
		case c.Type == "timeseries":
			found = append(found, warn(ns.String(), "a time series collection: MongoDB has no change streams on it"))
		case c.Encrypted:
			found = append(found, fail(ns.String(), "a collection with queryable encryption: its state cannot be replicated"))
		case c.Unroutable() != "" && !w.DDL:
			found = append(found, fail(ns.String(), "its changes cannot be spread over partitions without schema changes (DDL): %s", c.Unroutable()))
		}
	}

	return found
}

// oplog compares the oplog's first entry with the stream's tail.
func oplog(ctx context.Context, w *World) []Finding {
	if w.source.hello.Topology == mongodb.Sharded {
		return one(unknown(w.source.where(), "a mongos shows no oplog: look at each shard's rs.printReplicationInfo()"))
	}

	first, err := mongodb.OldestOperation(ctx, w.source.client)
	if err != nil {
		return one(unknown(w.source.where(), "local.oplog.rs cannot be read, which needs find on it: "+reason(err)))
	}

	var size struct {
		Size    int64 `bson:"size"`
		MaxSize int64 `bson:"maxSize"`
	}

	full := false // an oplog that still grows says nothing about its window
	if err := w.source.client.Database("local").RunCommand(ctx, bson.D{{Key: "collStats", Value: "oplog.rs"}}).Decode(&size); err == nil {
		full = size.MaxSize > 0 && size.Size >= size.MaxSize/10*9
	}

	return judgeOplog(w.source.where(), history{
		first: first.T, now: w.source.hello.OperationTime.T, tail: w.tail.Position.T, full: full,
	})
}

// history is what decides about the oplog, in seconds of cluster time.
type history struct {
	first, now uint32
	tail       uint32 // position of the stream's last message; 0: none
	full       bool   // the oplog drops an entry for each one that it takes
}

func judgeOplog(where string, h history) []Finding {
	window := time.Duration(max(int64(h.now)-int64(h.first), 0)) * time.Second
	left := time.Duration(int64(h.tail)-int64(h.first)) * time.Second

	switch {
	case h.tail != 0 && h.tail < h.first:
		return one(fail(where, "the oplog begins %s after the flow's last position: that history is lost", -left).
			remedy("make the oplog larger, then accept the gap with relayctl flow accept-gap"))
	case h.tail != 0 && h.full && left < window/2:
		return one(warn(where, "the flow's last position leaves the oplog in about %s, its window is %s", left, window))
	case h.full && window < shortWindow:
		return one(warn(where, "the oplog reaches back %.1f hours only", window.Hours()))
	default:
		return nil
	}
}

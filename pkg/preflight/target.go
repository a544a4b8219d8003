package preflight

import (
	"context"
	"fmt"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"

	"github.com/atlas-relay/atlas-relay/pkg/checkpoint"
	"github.com/atlas-relay/atlas-relay/pkg/mongodb"
)

func targetChecks() []Check {
	return []Check{
		{
			Code: "TGT001", What: "the target answers and knows the user",
			Why: "nothing can be applied", Remedy: "check TARGET_URI, user and password, the network and TLS settings", Needs: []string{"CFG004"},
			run: func(ctx context.Context, w *World) []Finding { return w.target.connect(ctx) },
		},
		{
			Code: "TGT002", What: "the target is a replica set or mongos, with a primary",
			Why: "without transactions changes are applied at least once, not exactly once", Remedy: "start mongod with --replSet rs0 and run rs.initiate() once",
			Needs: []string{"TGT001"},
			run: func(_ context.Context, w *World) []Finding {
				return w.target.topology(warn(w.target.where(), "a standalone mongod: it has no transactions"))
			},
		},
		{
			Code: "TGT003", What: "the target's version is " + leastTarget + " or later",
			Why: "older servers are not tried, or get no fixes", Remedy: "upgrade the target", Needs: []string{"TGT001"},
			run: func(_ context.Context, w *World) []Finding { return w.target.version(leastTarget) },
		},
		{
			Code: "TGT004", What: "the user may read and write " + checkpoint.Database + " on the target, in a transaction (tried, then aborted)",
			Why: "checkpoints and dead letters live there, and commit with the data", Remedy: "grant the role of deploy/mongodb/target-role.js",
			Needs: []string{"TGT002"}, run: tryTransaction,
		},
		{
			Code: "TGT005", What: "the target has the bulkWrite command (MongoDB 8.0)",
			Why: "without it a batch takes one request for each collection", Remedy: "upgrade the target to MongoDB 8.0 for speed", Needs: []string{"TGT001"},
			run: func(_ context.Context, w *World) []Finding {
				if !w.target.hello.HasClientBulkWrite() {
					return one(warn(w.target.where(), "no bulkWrite command: batches fall back to one request for each collection"))
				}

				return nil
			},
		},
		{
			Code: "TGT006", What: "collections of the same name have the same options on both sides",
			Why: "documents that the source accepts may be refused, or be one there and two here", Remedy: "make the options equal with collMod, or drop and create the collection on the target",
			Needs: []string{"SRC006", "TGT001"}, run: sameOptions,
		},
		{
			Code: "TGT007", What: "source and target are different deployments",
			Why: "a flow would replicate its own changes for ever", Remedy: "let TARGET_URI name another deployment", Needs: []string{"SRC001", "TGT001"},
			run: func(_ context.Context, w *World) []Finding {
				if why := sameDeployment(w.source.process, w.target.process); why != "" {
					return one(refused(fail(w.target.where(), "SOURCE_URI and TARGET_URI name the same deployment: %s", why)))
				}

				return nil
			},
		},
		{
			Code: "TGT008", What: "the clocks of this host and of the target agree within 1 s",
			Why: "latency is a difference of both clocks", Remedy: "run NTP or chrony on both hosts", Needs: []string{"TGT001"},
			run: func(_ context.Context, w *World) []Finding { return w.target.clock() },
		},
		{
			Code: "TGT009", What: "indexes of the same name are the same on both sides",
			Why: "flow init refuses them with DDL=on, and so does the target when the source changes them", Remedy: "drop the index on the target: flow init makes it as the source has it, and an index that is missing is no difference",
			Needs: []string{"SRC006", "TGT001"}, after: []string{"TGT006"}, run: sameIndexes,
		},
		{
			Code: "TGT010", What: "the target keeps empty timestamps (MongoDB 8.0, 7.0 from 7.0.13, 6.0 from 6.0.17)",
			Why:    "other servers put their clock into a field that holds Timestamp(0, 0), so such documents differ from the source's",
			Remedy: "upgrade the target, unless no document has an empty timestamp", Needs: []string{"TGT001"},
			run: func(_ context.Context, w *World) []Finding { return w.target.emptyTimestamps() },
		},
		{
			Code: "TGT011", What: "what a sharded target shards is sharded by _id",
			Why:    "documents are written by their _id; a mongos before MongoDB 7.0 refuses to insert such a one by another shard key, later ones ask every shard",
			Remedy: "shard the collection by {_id: 1} or {_id: \"hashed\"} on the target, whatever the source has", Needs: []string{"TGT001"},
			run: shardKeys,
		},
	}
}

// emptyTimestamps judges by the version: that a server takes bypassEmptyTsReplacement is seen only where something is
// written. Releases: https://jira.mongodb.org/browse/SERVER-88750 and its backports.
func (d *deployment) emptyTimestamps() []Finding {
	v := d.hello.Version

	kept := !older(v, "8.0.0") ||
		!older(v, "7.0.13") && older(v, "7.1.0") ||
		!older(v, "6.0.17") && older(v, "6.1.0")
	if v == "" || kept { // TGT003 tells that there is no version
		return nil
	}

	return one(warn(d.where(), "version %s puts its clock into empty timestamps of documents that it inserts or replaces", v))
}

// tryTransaction writes and reads a checkpoint of no flow in a transaction that
// is aborted. Its _id cannot be a flow's: those have no blank.
func tryTransaction(ctx context.Context, w *World) []Finding {
	if w.target.hello.Topology == mongodb.Standalone {
		return one(unknown(w.target.where(), "a standalone mongod has no transactions to try with"))
	}

	session, err := w.target.client.StartSession()
	if err != nil {
		return one(w.target.trouble(err))
	}
	defer session.EndSession(ctx)

	err = mongo.WithSession(ctx, session, func(ctx context.Context) error { return trial(ctx, session, w) })
	if err != nil {
		f := w.target.trouble(err)
		f.What = "a transaction in " + checkpoint.Database + " does not work: " + reason(err)

		return one(f)
	}

	return nil
}

func trial(ctx context.Context, session *mongo.Session, w *World) error {
	if err := session.StartTransaction(); err != nil {
		return err
	}

	defer func() { _ = session.AbortTransaction(context.WithoutCancel(ctx)) }() // the server aborts it after a minute otherwise

	trial := bson.D{{Key: "_id", Value: "preflight of " + w.Flow}}
	checkpoints := w.target.client.Database(checkpoint.Database).Collection(checkpoint.Collection)

	if _, err := checkpoints.InsertOne(ctx, trial); err != nil {
		return fmt.Errorf("insert: %w", err)
	}

	if err := checkpoints.FindOne(ctx, trial).Err(); err != nil {
		return fmt.Errorf("find: %w", err)
	}

	if _, err := checkpoints.UpdateOne(ctx, trial, bson.D{{Key: "$set", Value: bson.D{{Key: "tried", Value: true}}}}); err != nil {
		return fmt.Errorf("update: %w", err)
	}

	if _, err := checkpoints.DeleteOne(ctx, trial); err != nil {
		return fmt.Errorf("delete: %w", err)
	}

	return nil
}

package preflight

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/atlas-relay/atlas-relay/pkg/event"
	"github.com/atlas-relay/atlas-relay/pkg/mongodb"
)

// leastUpsertByID is the first version whose mongos takes an upsert that names the _id and not the shard key
// (SERVER-75194).
const leastUpsertByID = "7.0.0"

// sharded is an entry of config.collections:
// https://www.mongodb.com/docs/manual/reference/config-database/#config.collections.
type sharded struct {
	Name         string   `bson:"_id"`
	Key          bson.Raw `bson:"key"`
	Dropped      bool     `bson:"dropped"`      // of servers before 5.0, which kept the entry
	Unsplittable bool     `bson:"unsplittable"` // not sharded: since 8.0 others are listed too
}

// shardKeys asks how the target's collections are sharded. The relay knows documents by their _id: the shard key of an
// image need not be that of the document which it replaces, and source and target need not be sharded alike.
func shardKeys(ctx context.Context, w *World) []Finding {
	if w.target.hello.Topology != mongodb.Sharded {
		return nil
	}

	var list []sharded

	cursor, err := w.target.client.Database("config").Collection("collections").Find(ctx, bson.D{})
	if err == nil {
		err = cursor.All(ctx, &list)
	}

	if err != nil {
		return one(unknown(w.target.where(), "config.collections cannot be read, which needs find on it: "+reason(err)))
	}

	return judgeShardKeys(list, w.target.hello.Version, w.Filter.Takes)
}

func judgeShardKeys(list []sharded, version string, takes func(event.Namespace) bool) (found []Finding) {
	for _, c := range list {
		db, coll, _ := strings.Cut(c.Name, ".") // no name of a database has a dot

		ns := event.Namespace{DB: db, Coll: coll}
		if c.Dropped || c.Unsplittable || c.byID() || event.IsInternal(ns) || !takes(ns) {
			continue
		}

		if key := fmt.Sprintf("sharded by %s", c.Key); older(version, leastUpsertByID) {
			found = append(found, fail(c.Name, "%s: version %s refuses an upsert without the shard key, so every insert becomes a dead letter", key, version))
		} else {
			found = append(found, warn(c.Name, "%s: each insert asks all shards first, and a change of the shard key may be refused", key))
		}
	}

	slices.SortFunc(found, func(a, b Finding) int { return cmp.Compare(a.Where, b.Where) })

	return found
}

// byID tells whether nothing but the _id, or its hash, is the shard key.
func (c *sharded) byID() bool {
	fields, err := c.Key.Elements()

	return err == nil && len(fields) == 1 && fields[0].Key() == "_id"
}

package schema

import (
	"context"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/atlas-relay/atlas-relay/pkg/catalog"
	"github.com/atlas-relay/atlas-relay/pkg/mongodb"
)

func (r *run) createIndexes(ctx context.Context) error {
	c, was := r.change, r.before.From
	if was == nil { // the server would make a collection without the source's options
		return &ConflictError{Namespace: c.Namespace, What: "collection", Want: c.String()}
	}

	return catalog.EnsureIndexes(ctx, r.target, c.Namespace, r.fence(was), c.indexes)
}

// dropIndexes drops one by one: of several names the server drops none when one
// is not there.
func (r *run) dropIndexes(ctx context.Context) error {
	c, was := r.change, r.before.From
	if was == nil {
		return nil
	}

	for _, name := range c.indexNames() {
		err := r.command(ctx, c.Namespace.DB, was, bson.D{{Key: "dropIndexes", Value: c.Namespace.Coll}, {Key: "index", Value: name}})
		if err != nil && !mongodb.IsIndexNotFound(err) && !mongodb.IsNamespaceNotFound(err) {
			return err
		}
	}

	return nil
}

// modify sets values, so that twice is once.
func (r *run) modify(ctx context.Context) error {
	c, was := r.change, r.before.From
	if was == nil {
		return &ConflictError{Namespace: c.Namespace, What: "collection", Want: c.String()}
	}

	return r.command(ctx, c.Namespace.DB, was, catalog.ModifyCommand(c.Namespace.Coll, c.options))
}

package schema

import (
	"context"
	"fmt"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"

	"github.com/atlas-relay/atlas-relay/pkg/catalog"
	"github.com/atlas-relay/atlas-relay/pkg/event"
	"github.com/atlas-relay/atlas-relay/pkg/mongodb"
)

// run is one execution of one change.
type run struct {
	target *mongo.Client
	change *Change
	before prepared
	fenced bool // commands name the collection's UUID
}

func (r *run) execute(ctx context.Context) error {
	switch c := r.change; c.Operation {
	case event.Create:
		return catalog.EnsureCollection(ctx, r.target, c.Namespace, c.options)
	case event.Drop:
		return r.drop(ctx, c.Namespace, r.before.From)
	case event.DropDatabase:
		return r.dropAll(ctx)
	case event.Rename:
		return r.rename(ctx)
	case event.CreateIndexes:
		return r.createIndexes(ctx)
	case event.DropIndexes:
		return r.dropIndexes(ctx)
	case event.Modify:
		return r.modify(ctx)
	default: // Parse refuses it
		return fmt.Errorf("%w: %s", ErrUnsupported, c.Operation)
	}
}

// command runs a command that is meant for what was there before.
func (r *run) command(ctx context.Context, db string, on *entry, command bson.D) error {
	return catalog.RunFenced(ctx, r.target.Database(db), command, r.fence(on))
}

// fence returns the UUID that commands name; zero where the target's commands
// know no such field.
func (r *run) fence(on *entry) event.UUID {
	if !r.fenced {
		return event.UUID{}
	}

	return on.UUID
}

// drop drops what was there before, and nothing that came after.
func (r *run) drop(ctx context.Context, ns event.Namespace, was *entry) error {
	if was == nil {
		return nil
	}

	there, err := find(ctx, r.target, ns)
	if err != nil || !there.is(was) {
		return err
	}

	err = r.command(ctx, ns.DB, was, bson.D{{Key: "drop", Value: ns.Coll}})
	if mongodb.IsNamespaceNotFound(err) || mongodb.IsOtherCollection(err) {
		return nil
	}

	return err
}

// dropAll drops a database collection by collection, because only a drop of a
// collection can say which one is meant. A database without collections is none.
func (r *run) dropAll(ctx context.Context) error {
	for i := range r.before.All {
		was := &r.before.All[i]
		if err := r.drop(ctx, event.Namespace{DB: r.change.Namespace.DB, Coll: was.Name}, was); err != nil {
			return err
		}
	}

	return nil
}

func (r *run) rename(ctx context.Context) error {
	done, err := r.renamed(ctx)
	if err != nil || done {
		return err
	}

	c := r.change
	command := bson.D{
		{Key: "renameCollection", Value: c.Namespace.String()},
		{Key: "to", Value: c.To.String()},
		{Key: "dropTarget", Value: c.DropsTarget},
	}

	err = r.command(ctx, "admin", r.before.From, command)
	if !mongodb.IsNamespaceNotFound(err) && !mongodb.IsOtherCollection(err) && !mongodb.IsNamespaceExists(err) {
		return err
	}

	if done, again := r.renamed(ctx); again != nil || done {
		return again
	}

	return err
}

// renamed tells whether the collection has its new name. A *ConflictError says
// that the rename is impossible.
func (r *run) renamed(ctx context.Context) (bool, error) {
	c, was := r.change, r.before.From
	missing := &ConflictError{Namespace: c.Namespace, What: "collection", Want: c.String()}

	if was == nil {
		return false, missing
	}

	to, err := find(ctx, r.target, c.To)
	if err != nil {
		return false, err
	}

	if to.is(was) {
		return true, nil
	}

	from, err := find(ctx, r.target, c.Namespace)

	switch {
	case err != nil:
		return false, err
	case !from.is(was):
		return false, missing
	case to != nil && !c.DropsTarget:
		return false, &ConflictError{Namespace: c.To, What: "collection", Want: c.String(), Have: "one of that name"}
	default:
		return false, nil
	}
}

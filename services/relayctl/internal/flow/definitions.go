package flow

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"go.mongodb.org/mongo-driver/v2/mongo"

	"github.com/atlas-relay/atlas-relay/pkg/catalog"
	"github.com/atlas-relay/atlas-relay/pkg/mongodb"
)

// definer makes the source's collections and indexes on the target when a flow
// with DDL=on is made: what is there before the first event has to be there, what
// comes later comes as an event. An event for what is made already has nothing to
// do.
type definer struct {
	*initialisation

	// before is the source's catalog before the first token was taken.
	before []catalog.Collection
}

// newDefiner reads the source's catalog; without DDL it does nothing, then and later.
func (i *initialisation) newDefiner(ctx context.Context) (*definer, error) {
	d := &definer{initialisation: i}

	var err error
	if i.ReplicatesSchema() {
		d.before, err = d.readSource(ctx)
	}

	return d, err
}

func (d *definer) readSource(ctx context.Context) ([]catalog.Collection, error) {
	source, _, err := connectMongo(ctx, "SOURCE_URI", d.SourceURI, true)
	if err != nil {
		return nil, err
	}

	defer func() { _ = mongodb.Disconnect(ctx, source) }() // the server ends what is left by itself

	list, err := d.read(ctx, source)

	return list, mongoTroubleOrNil("SOURCE_URI", d.SourceURI, err)
}

// read returns a catalog in the flow's scope, without indexes where the flow
// leaves them alone.
func (d *definer) read(ctx context.Context, client *mongo.Client) ([]catalog.Collection, error) {
	filter, err := d.filter()
	if err != nil {
		return nil, err
	}

	list, err := catalog.Read(ctx, client, filter)

	for i := range list {
		if d.LeavesIndexes() {
			list[i].Indexes = nil
		}
	}

	return list, err
}

// define makes what the target lacks. It is called after the first token was
// taken: the catalog must still be what it was before, else it is not known which
// changes lie behind the token. What is there with another meaning is refused;
// what the target has more is left alone, and told.
func (d *definer) define(ctx context.Context) (notes []string, err error) {
	if !d.ReplicatesSchema() {
		return nil, nil
	}

	list, err := d.readSource(ctx)
	if err != nil {
		return nil, err
	}

	if !sameCatalog(d.before, list) {
		return nil, &RefusedError{What: "collections or indexes of the source change right now", Next: "run it again when nobody changes them"}
	}

	target, _, err := connectMongo(ctx, "TARGET_URI", d.TargetURI, false)
	if err != nil {
		return nil, err
	}

	defer func() { _ = mongodb.Disconnect(ctx, target) }() // the server ends what is left by itself

	there, err := d.read(ctx, target)
	if err != nil {
		return nil, mongoTrouble("TARGET_URI", d.TargetURI, err)
	}

	extra, err := judgeDifferences(catalog.Compare(list, there))
	if err != nil {
		return nil, err
	}

	if len(extra) > 0 {
		notes = append(notes, "on the target only, left alone: "+some(extra))
	}

	return notes, d.make(ctx, target, list)
}

func sameCatalog(a, b []catalog.Collection) bool {
	return len(catalog.Compare(a, b)) == 0 &&
		slices.EqualFunc(a, b, func(a, b catalog.Collection) bool { return a.UUID == b.UUID })
}

// judgeDifferences refuses what people have to settle. It returns what only the
// target has.
func judgeDifferences(differences []catalog.Difference) (extra []string, err error) {
	var conflicts []string

	for _, difference := range differences {
		switch {
		case difference.IsMissing():
		case difference.IsExtra():
			extra = append(extra, fmt.Sprintf("%s (%s)", difference.Namespace, difference.What))
		default:
			conflicts = append(conflicts, "\n    "+difference.String())
		}
	}

	if len(conflicts) == 0 {
		return extra, nil
	}

	return nil, &RefusedError{
		What: fmt.Sprintf("the target has %d definitions that differ from the source's:%s", len(conflicts), strings.Join(conflicts, "")),
		Next: "make them equal on the target (collMod, dropIndexes), or drop what differs there: flow init makes it as the source has it",
	}
}

func (d *definer) make(ctx context.Context, target *mongo.Client, list []catalog.Collection) error {
	for i := range list {
		c := &list[i]

		err := catalog.EnsureCollection(ctx, target, c.Namespace(), c.Options)
		if err == nil {
			err = catalog.EnsureIndexes(ctx, target, c.Namespace(), [16]byte{}, c.Indexes)
		}

		if conflict, ok := errors.AsType[*catalog.ConflictError](err); ok {
			return &RefusedError{What: conflict.Error(), Next: "somebody else makes collections on the target: run it again when that is over"}
		}

		if err != nil {
			return mongoTrouble("TARGET_URI", d.TargetURI, err)
		}
	}

	return nil
}

package apply

import (
	"context"
	"fmt"
	"sync"

	"go.mongodb.org/mongo-driver/v2/mongo"

	"github.com/atlas-relay/atlas-relay/pkg/checkpoint"
	"github.com/atlas-relay/atlas-relay/pkg/event"
	"github.com/atlas-relay/atlas-relay/pkg/mongodb"
	"github.com/atlas-relay/atlas-relay/pkg/parked"
)

// ensured remembers the collections that exist on the target. A transaction may
// create a collection by its first write, but two that create the same one
// conflict with each other again and again, and a sharded cluster may refuse.
// A collection that is dropped afterwards is made by a transaction all the same.
type ensured struct {
	mu    sync.Mutex
	known map[event.Namespace]struct{}
}

func (e *ensured) collections(ctx context.Context, target *mongo.Client, namespaces []event.Namespace) error {
	own := []event.Namespace{
		{DB: checkpoint.Database, Coll: checkpoint.Collection},
		{DB: checkpoint.Database, Coll: checkpoint.Unsupported},
		{DB: checkpoint.Database, Coll: parked.Chunks},
		{DB: checkpoint.Database, Coll: parked.Refetched},
		{DB: checkpoint.Database, Coll: parked.Collection},
	}

	for _, ns := range append(own, namespaces...) {
		if err := e.collection(ctx, target, ns); err != nil {
			return err
		}
	}

	return nil
}

func (e *ensured) collection(ctx context.Context, target *mongo.Client, ns event.Namespace) error {
	e.mu.Lock()
	defer e.mu.Unlock()

	if _, found := e.known[ns]; found {
		return nil
	}

	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()

	if err := target.Database(ns.DB).CreateCollection(ctx, ns.Coll); err != nil && !mongodb.IsNamespaceExists(err) {
		return fmt.Errorf("create collection %s: %w", ns, err)
	}

	if ns.DB == checkpoint.Database && ns.Coll == parked.Collection {
		if err := parked.EnsureIndexes(ctx, target); err != nil {
			return err
		}
	}

	if e.known == nil {
		e.known = map[event.Namespace]struct{}{}
	}

	e.known[ns] = struct{}{}

	return nil
}

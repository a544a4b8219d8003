package capture

import (
	"context"
	"fmt"
	"strings"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/atlas-relay/atlas-relay/pkg/event"
	"github.com/atlas-relay/atlas-relay/pkg/mongodb"
)

// checkSource makes sure, once, that the source is the one the stream was made
// from and that every collection taken can be spread over partitions.
func (c *Capture) checkSource(ctx context.Context, identity string) error {
	if c.checked {
		return nil
	}

	hello, err := mongodb.SayHello(ctx, c.source)
	if err != nil {
		return sourceTrouble(err)
	}

	if err := hello.RequireReplicaSet(); err != nil {
		return sourceTrouble(err)
	}

	if !mongodb.SameDeployment(hello.Identity(), identity) {
		return failed(
			fmt.Errorf("the source is %q, the stream was made from %q", hello.Identity(), identity),
			"point SOURCE_URI to the deployment that the stream was made from",
		)
	}

	catalog, err := mongodb.Catalog(ctx, c.source)
	if err != nil {
		return sourceTrouble(err)
	}

	var refused []string

	for _, collection := range catalog {
		ns := event.Namespace{DB: collection.DB, Coll: collection.Name}
		if why := collection.Unroutable(); why != "" && !event.IsInternal(ns) && c.filter.Takes(ns) {
			refused = append(refused, fmt.Sprintf("%s: %s", ns, why))
		}
	}

	if len(refused) > 0 {
		return unroutable(strings.Join(refused, "; "))
	}

	c.checked = true
	c.board.update(func(s *Status) { s.SourceChecked = true })

	return nil
}

// refuseUnroutable stops at the creation of a collection whose changes cannot
// be spread over partitions.
func refuseUnroutable(e *event.Event) error {
	if e.Operation != event.Create {
		return nil
	}

	var options bson.Raw
	options, _ = e.Raw.Lookup("operationDescription").DocumentOK()

	collection := mongodb.ParseCollection(e.Namespace.DB, e.Namespace.Coll, "collection", options)
	if why := collection.Unroutable(); why != "" {
		return unroutable(fmt.Sprintf("%s: %s", e.Namespace, why))
	}

	return nil
}

func unroutable(what string) *interruption {
	return failed(
		fmt.Errorf("collections that cannot be replicated by this version: %s", what),
		"leave them out with EXCLUDE_NAMESPACES",
	)
}

package capture

import (
	"context"
	"fmt"
	"log/slog"
	"strings"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/atlas-relay/atlas-relay/pkg/event"
	"github.com/atlas-relay/atlas-relay/pkg/mongodb"
	"github.com/atlas-relay/atlas-relay/pkg/telemetry"
	"github.com/atlas-relay/atlas-relay/pkg/topology"
)

// checkSource makes sure, once, that the source is the one the stream was made
// from and that every collection taken can be spread over partitions. With schema
// changes it need not be: the stream's table says which goes through one.
func (c *Capture) checkSource(ctx context.Context, stream *topology.Stream) error {
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

	if !mongodb.SameDeployment(hello.Identity(), stream.Source) {
		return failed(
			fmt.Errorf("the source is %q, the stream was made from %q", hello.Identity(), stream.Source),
			"point SOURCE_URI to the deployment that the stream was made from",
		)
	}

	catalog, err := mongodb.Catalog(ctx, c.source)
	if err != nil {
		return sourceTrouble(err)
	}

	if err := c.judgeCatalog(ctx, catalog, stream.DDL); err != nil {
		return err
	}

	c.checked = true
	c.board.update(func(s *Status) { s.SourceChecked = true })

	return nil
}

// judgeCatalog names the collections taken that cannot be replicated: without
// schema changes those stop the listener whose changes cannot be spread; with them
// it says which ones are left out.
func (c *Capture) judgeCatalog(ctx context.Context, catalog []mongodb.Collection, ddl bool) error {
	var refused []string

	for i := range catalog {
		collection := &catalog[i]

		ns := event.Namespace{DB: collection.DB, Coll: collection.Name}
		if event.IsInternal(ns) || !c.filter.Takes(ns) {
			continue
		}

		switch {
		case !ddl && collection.Unroutable() != "":
			refused = append(refused, fmt.Sprintf("%s: %s", ns, collection.Unroutable()))
		case ddl && collection.Encrypted:
			c.log.WarnContext(ctx, "collection is not replicated, its changes are skipped",
				slog.String(telemetry.KeyNamespace, ns.String()), slog.String(telemetry.KeyReason, "it is encrypted (queryable encryption)"))
		case ddl && collection.Type == "timeseries":
			c.log.WarnContext(ctx, "collection is not replicated",
				slog.String(telemetry.KeyNamespace, ns.String()), slog.String(telemetry.KeyReason, "a time series has no change events"))
		}
	}

	if len(refused) > 0 {
		return unroutable(strings.Join(refused, "; "))
	}

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

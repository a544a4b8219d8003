package flow

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"

	"github.com/atlas-relay/atlas-relay/pkg/event"
	"github.com/atlas-relay/atlas-relay/pkg/mongodb"
	"github.com/atlas-relay/atlas-relay/pkg/retry"
	"github.com/atlas-relay/atlas-relay/pkg/routing"
	"github.com/atlas-relay/atlas-relay/pkg/settings"
)

// isSource says what a deployment is asked for: a source must have change
// streams, a target may be a standalone server.
type isSource bool

// connectMongo returns a client of a deployment. It waits for the deployment until ctx ends, but not for another
// kind of deployment or better credentials. The caller disconnects.
func connectMongo(ctx context.Context, variable string, uri settings.URI, source isSource) (*mongo.Client, mongodb.Hello, error) {
	// The primary's history decides whether there is a gap, as it does for the listener.
	client, err := mongodb.Connect(uri, mongodb.Options{AppName: "atlas-relay relayctl", ServerSelectionTimeout: requestTimeout, Primary: true})
	if err != nil {
		return nil, mongodb.Hello{}, mongoTrouble(variable, uri, err)
	}

	var hello mongodb.Hello

	timeout := firstTimeout // a wrong address is told soon

	err = await(ctx, func(ctx context.Context) error {
		ctx, cancel := context.WithTimeout(ctx, timeout)
		defer cancel()

		timeout = requestTimeout

		var err error
		if hello, err = mongodb.SayHello(ctx, client); err == nil && bool(source) {
			err = hello.RequireReplicaSet()
		}

		if err == nil && hello.Topology == mongodb.ReplicaSet && !hello.WritablePrimary {
			return &UnreachableError{
				What: fmt.Sprintf("%s (%s) has no primary", variable, uri), Err: errors.New("hello answers isWritablePrimary: false"),
				Next: "run rs.initiate() if it is new, else look at rs.status()",
			}
		}

		if err = mongoTroubleOrNil(variable, uri, err); err != nil && !errors.As(err, new(*UnreachableError)) {
			return retry.Permanent(err)
		}

		return err
	})
	if err != nil {
		_ = mongodb.Disconnect(ctx, client) // the first error is the one that tells

		return nil, mongodb.Hello{}, err
	}

	return client, hello, nil
}

func mongoTroubleOrNil(variable string, uri settings.URI, err error) error {
	if err == nil {
		return nil
	}

	return mongoTrouble(variable, uri, err)
}

// refuseSource: a flow from an older source would write updates of some fields to others, without an error.
func refuseSource(hello mongodb.Hello, origins []string) error {
	if !hello.TellsNamesFromPaths() {
		return &RefusedError{
			What: "the source is MongoDB " + hello.Version + ", whose change events do not tell a field name with dots from a path into a document",
			Next: "upgrade the source to MongoDB 7.0 or later",
		}
	}

	return refuseOrigins(hello, origins)
}

// refuseOrigins: a mongos interleaves the events of the transactions of several shards, so that nothing tells where one
// of them begins. Capped collections, whose writes are in no transaction, are refused for themselves (readScope).
func refuseOrigins(hello mongodb.Hello, flows []string) error {
	if len(flows) == 0 || hello.Topology != mongodb.Sharded {
		return nil
	}

	return &RefusedError{
		What: "SKIP_ORIGINS with a sharded cluster as the source: its change stream does not tell whose a change is",
		Next: "unset SKIP_ORIGINS; two-way flows need replica sets",
	}
}

// presentToken returns the resume token of now: the first change after the call
// is the first one behind it.
func presentToken(ctx context.Context, source *mongo.Client) (bson.Raw, error) {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()

	// Nothing is read: a token that came with an event lies behind it.
	cursor, err := mongodb.Watch(ctx, source, options.ChangeStream())
	if err != nil {
		return nil, err
	}

	token := slices.Clone(cursor.ResumeToken())

	if err := cursor.Close(ctx); err != nil {
		return nil, fmt.Errorf("close change stream: %w", err)
	}

	if token == nil {
		return nil, errors.New("the source gave no resume token with an empty batch; MongoDB 4.0.7 or later is needed")
	}

	return token, nil
}

// scope is what of the source's catalog the filter takes.
type scope struct {
	replicated    []event.Namespace
	unroutable    []string // with the reason: without a routing table nobody could order their changes
	notReplicated []string // with what they are
}

// readTable makes the routing table of the whole deployment: a filter may change.
func readTable(ctx context.Context, source *mongo.Client, partitions int) (*routing.Table, error) {
	catalog, err := mongodb.Catalog(ctx, source)
	if err != nil {
		return nil, err
	}

	return routing.FromCatalog(catalog, partitions), nil
}

func readScope(ctx context.Context, source *mongo.Client, filter event.Filter, ddl bool) (scope, error) {
	catalog, err := mongodb.Catalog(ctx, source)
	if err != nil {
		return scope{}, err
	}

	var s scope

	for _, c := range catalog {
		ns := event.Namespace{DB: c.DB, Coll: c.Name}

		switch {
		case event.IsInternal(ns), !filter.Takes(ns):
		case ddl && c.Type == "view": // its definition is made, and it has no documents
		case c.Type == "view", c.Type == "timeseries":
			s.notReplicated = append(s.notReplicated, fmt.Sprintf("%s (%s)", ns, c.Type))
		case ddl && c.Encrypted:
			s.notReplicated = append(s.notReplicated, fmt.Sprintf("%s (encrypted)", ns))
		case !ddl && c.Unroutable() != "":
			s.unroutable = append(s.unroutable, fmt.Sprintf("%s: %s", ns, c.Unroutable()))
		default:
			s.replicated = append(s.replicated, ns)
		}
	}

	return s, nil
}

// existing returns the collections that have documents.
func (s *scope) existing(ctx context.Context, source *mongo.Client) ([]string, error) {
	var found []string

	for _, ns := range s.replicated {
		err := source.Database(ns.DB).Collection(ns.Coll).
			FindOne(ctx, bson.D{}, options.FindOne().SetProjection(bson.D{{Key: "_id", Value: 1}})).Err()

		switch {
		case err == nil:
			found = append(found, ns.String())
		case !errors.Is(err, mongo.ErrNoDocuments):
			return nil, fmt.Errorf("look for documents in %s: %w", ns, err)
		}
	}

	return found, nil
}

// recipe says how documents that were there before the flow reach the target.
const recipe = `copy them by hand, with writes to the source stopped:
    1  stop the writes to the source
    2  relayctl flow init --without-existing
    3  mongodump --uri "$SOURCE_URI" --archive=copy.gz --gzip      (not --oplog)
    4  mongorestore --uri "$TARGET_URI" --archive=copy.gz --gzip --noIndexRestore
       (with DDL=off without --noIndexRestore: then flow init has made no indexes)
    5  start the writes again, then the services`

func refuseExisting(found []string) error {
	return &RefusedError{
		What: "the source has documents already, and a flow replicates changes only: " + some(found),
		Next: recipe,
	}
}

// some lists the first names of a list that may be long.
func some(names []string) string {
	const most = 10
	if len(names) <= most {
		return strings.Join(names, ", ")
	}

	return fmt.Sprintf("%s and %d more", strings.Join(names[:most], ", "), len(names)-most)
}

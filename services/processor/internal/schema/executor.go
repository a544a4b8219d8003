package schema

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"

	"github.com/atlas-relay/atlas-relay/pkg/catalog"
	"github.com/atlas-relay/atlas-relay/pkg/event"
	"github.com/atlas-relay/atlas-relay/pkg/mongodb"
)

// ConflictError says that the target has something else under that name.
type ConflictError = catalog.ConflictError

// Options are what the processor's settings say about schema changes.
type Options struct {
	// NoIndexes leaves the target's indexes alone (INDEXES=none).
	NoIndexes bool
}

// Executor runs schema changes on the target. It is safe for concurrent use.
type Executor struct {
	target  *mongo.Client
	options Options

	mu    sync.Mutex
	hello *mongodb.Hello // the target's, once it has answered
}

// New returns an executor; it asks the target nothing yet.
func New(target *mongo.Client, o Options) *Executor {
	return &Executor{target: target, options: o}
}

// IsOwn tells that a change failed for a reason of its own: the same command
// fails again on a healthy target, until somebody changes something. Every other
// error is the target's trouble.
func IsOwn(err error) bool {
	if _, ok := errors.AsType[*ConflictError](err); ok {
		return true
	}

	if mongodb.IsTransient(err) || mongodb.IsUnauthorized(err) {
		return false
	}

	_, ok := errors.AsType[mongo.ServerError](err)

	return ok
}

// Skips tells that the settings leave the change out: it ends as skipped.
func (x *Executor) Skips(c *Change) bool {
	switch c.Operation {
	case event.CreateIndexes, event.DropIndexes:
		return x.options.NoIndexes
	case event.Modify:
		_, isIndex := c.options.Lookup("index").DocumentOK()
		return isIndex && x.options.NoIndexes
	default:
		return false
	}
}

// Prepare returns what is there before the change, for Execute. The caller
// stores it before the first Execute and gives each further one the same.
func (x *Executor) Prepare(ctx context.Context, c *Change) (bson.Raw, error) {
	var (
		before prepared
		err    error
	)

	switch c.Operation {
	case event.DropDatabase:
		before.All, err = x.all(ctx, c.Namespace.DB)
	default:
		before.From, err = x.find(ctx, c.Namespace)
	}

	if err != nil {
		return nil, fmt.Errorf("prepare %s: %w", c, err)
	}

	raw, err := bson.Marshal(before)
	if err != nil {
		return nil, fmt.Errorf("prepare %s: %w", c, err)
	}

	return raw, nil
}

// Execute makes the change. It returns nil when the target is as the change
// leaves it, whoever did that. An error for which IsOwn says yes is the
// change's, all others are the target's and the caller waits.
//
// A deadline of ctx also bounds how long the server works on the command.
func (x *Executor) Execute(ctx context.Context, c *Change, before bson.Raw) error {
	var p prepared
	if err := bson.Unmarshal(before, &p); err != nil {
		return fmt.Errorf("execute %s: what was there before: %w", c, err)
	}

	fenced, err := x.fences(ctx)
	if err != nil {
		return fmt.Errorf("execute %s: %w", c, err)
	}

	r := run{target: x.target, change: c, before: p, fenced: fenced}

	if err := r.execute(ctx); err != nil {
		return fmt.Errorf("execute %s: %w", c, err)
	}

	return nil
}

// fences tells whether the target's commands know collectionUUID.
func (x *Executor) fences(ctx context.Context) (bool, error) {
	x.mu.Lock()
	defer x.mu.Unlock()

	if x.hello == nil {
		hello, err := mongodb.SayHello(ctx, x.target)
		if err != nil {
			return false, err
		}

		x.hello = &hello
	}

	return x.hello.HasCollectionUUID(), nil
}

// prepared is what is stored between Prepare and Execute.
type prepared struct {
	From *entry  `bson:"from,omitempty"`
	All  []entry `bson:"all,omitempty"` // of a database
}

// entry is a collection or view, as far as a second run must know it.
type entry struct {
	Name string     `bson:"name"`
	Type string     `bson:"type"`
	UUID event.UUID `bson:"uuid"` // zero for views
}

func (e *entry) is(other *entry) bool {
	return e != nil && other != nil && e.Type == other.Type && e.UUID == other.UUID
}

func entryOf(c mongodb.Collection) *entry { return &entry{Name: c.Name, Type: c.Type, UUID: c.UUID} }

func (x *Executor) find(ctx context.Context, ns event.Namespace) (*entry, error) {
	return find(ctx, x.target, ns)
}

// find returns nil when there is nothing of that name.
func find(ctx context.Context, target *mongo.Client, ns event.Namespace) (*entry, error) {
	there, found, err := mongodb.FindCollection(ctx, target, ns.DB, ns.Coll)
	if err != nil || !found {
		return nil, err
	}

	return entryOf(there), nil
}

func (x *Executor) all(ctx context.Context, db string) ([]entry, error) {
	collections, err := mongodb.Collections(ctx, x.target, db)
	if err != nil {
		return nil, err
	}

	var list []entry

	for _, c := range collections {
		if !event.IsInternal(event.Namespace{DB: db, Coll: c.Name}) {
			list = append(list, *entryOf(c))
		}
	}

	return list, nil
}

package schema

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/atlas-relay/atlas-relay/pkg/event"
)

// ErrUnsupported says that a schema change cannot be made on the target, ever.
// The text has the reason.
var ErrUnsupported = errors.New("not replicated")

// Change is a schema change of the source, as the target has to make it.
type Change struct {
	Operation event.Operation
	// Namespace is the collection or view; Coll is empty for dropDatabase. A
	// caller may set it: a change that waits follows its collection through a
	// rename.
	Namespace event.Namespace
	To        event.Namespace // of a rename
	// DropsTarget says that the rename replaced a collection at the source.
	DropsTarget bool

	// options of create; the changes of modify.
	options bson.Raw
	// indexes of createIndexes and dropIndexes.
	indexes []bson.Raw
}

// Parse reads the schema change that an event tells. It wraps event.ErrMalformed
// for what is no such event, and ErrUnsupported for one that the target cannot
// follow. The change aliases the event.
func Parse(e *event.Event) (Change, error) {
	c := Change{Operation: e.Operation, Namespace: e.Namespace, To: e.To}

	if !e.Operation.IsSchemaChange() {
		return Change{}, fmt.Errorf("%w: %s of %s", ErrUnsupported, e.Operation, e.Namespace)
	}

	if e.Namespace.DB == "" || (e.Namespace.Coll == "") != (e.Operation == event.DropDatabase) {
		return Change{}, fmt.Errorf("%w: %s of %q", event.ErrMalformed, e.Operation, e.Namespace)
	}

	description, _ := e.Raw.Lookup("operationDescription").DocumentOK()

	if err := c.describe(e, description); err != nil {
		return Change{}, fmt.Errorf("%s of %s: %w", e.Operation, e.Namespace, err)
	}

	return c, nil
}

func (c *Change) describe(e *event.Event, description bson.Raw) error {
	switch c.Operation {
	case event.Create:
		c.options = description

		return creatable(e, description)
	case event.Modify:
		c.options = description

		return modifiable(description)
	case event.Rename:
		return c.describeRename(description)
	case event.CreateIndexes, event.DropIndexes:
		return c.describeIndexes(description)
	default: // drops say it all by their namespace
		return nil
	}
}

// creatable returns why the collection cannot be made. What older servers tell
// of a time series collection is the view on its buckets.
func creatable(e *event.Event, options bson.Raw) error {
	kind, _ := e.Raw.Lookup("nsType").StringValueOK()
	base, _ := options.Lookup("viewOn").StringValueOK()
	_, series := options.Lookup("timeseries").DocumentOK()
	_, encrypted := options.Lookup("encryptedFields").DocumentOK()

	switch {
	case series, kind == "timeseries", strings.HasPrefix(base, "system.buckets."):
		return fmt.Errorf("%w: MongoDB has no change streams on time series collections", ErrUnsupported)
	case encrypted:
		return fmt.Errorf("%w: queryable encryption keeps state that no client may write", ErrUnsupported)
	default:
		return nil
	}
}

func modifiable(changes bson.Raw) error {
	switch _, series := changes.Lookup("timeseries").DocumentOK(); {
	case changes == nil:
		return fmt.Errorf("%w: no operationDescription", event.ErrMalformed)
	case series:
		return fmt.Errorf("%w: MongoDB has no change streams on time series collections", ErrUnsupported)
	default:
		return nil
	}
}

func (c *Change) describeRename(description bson.Raw) error {
	if c.To.DB == "" || c.To.Coll == "" {
		return fmt.Errorf("%w: no new name", event.ErrMalformed)
	}

	c.DropsTarget = description.Lookup("dropTarget").Type == bson.TypeBinary

	return nil
}

func (c *Change) describeIndexes(description bson.Raw) error {
	list, _ := description.Lookup("indexes").ArrayOK()

	values, err := list.Values()
	if err != nil || len(values) == 0 {
		return fmt.Errorf("%w: no indexes", event.ErrMalformed)
	}

	for _, value := range values {
		spec, ok := value.DocumentOK()
		if _, named := spec.Lookup("name").StringValueOK(); !ok || !named {
			return fmt.Errorf("%w: an index without a name", event.ErrMalformed)
		}

		c.indexes = append(c.indexes, spec)
	}

	return nil
}

// String says what the change does, for people: "drop of shop.orders".
func (c *Change) String() string {
	switch c.Operation {
	case event.Rename:
		return fmt.Sprintf("rename of %s to %s", c.Namespace, c.To)
	case event.CreateIndexes, event.DropIndexes:
		return fmt.Sprintf("%s %s of %s", c.Operation, strings.Join(c.indexNames(), ", "), c.Namespace)
	default:
		return fmt.Sprintf("%s of %s", c.Operation, c.Namespace)
	}
}

func (c *Change) indexNames() []string {
	names := make([]string, len(c.indexes))
	for i, spec := range c.indexes {
		names[i], _ = spec.Lookup("name").StringValueOK()
	}

	return names
}

// Concerns tells whether documents of ns that wait for a retry are affected:
// there is nothing to retry any more (Drops), or they have another name (Moves).
func (c *Change) Concerns(ns event.Namespace) bool {
	_, moves := c.Moves(ns)

	return moves || c.Drops(ns)
}

// Drops tells whether the documents that ns had before the change are gone.
func (c *Change) Drops(ns event.Namespace) bool {
	switch c.Operation {
	case event.Drop:
		return ns == c.Namespace
	case event.DropDatabase:
		return ns.DB == c.Namespace.DB
	case event.Rename:
		return ns == c.To
	default:
		return false
	}
}

// Moves returns the name that the documents of ns have after the change.
func (c *Change) Moves(ns event.Namespace) (to event.Namespace, ok bool) {
	if c.Operation != event.Rename || ns != c.Namespace {
		return event.Namespace{}, false
	}

	return c.To, true
}

// Builds tells whether the command may take as long as the collection is large: the server makes an index, or looks at
// every entry of one that becomes unique.
func (c *Change) Builds() bool {
	unique, _ := c.options.Lookup("index", "unique").BooleanOK()

	return c.Operation == event.CreateIndexes || c.Operation == event.Modify && unique
}

// Repeatable tells whether the change may be tried again at a later place of the
// stream. A drop or a rename may not: by then another collection may have the
// name.
func (c *Change) Repeatable() bool {
	switch c.Operation {
	case event.Drop, event.DropDatabase, event.Rename:
		return false
	default:
		return true
	}
}

// Supersedes tells whether an earlier change that waits for a retry has nothing
// to do any more, because what it was for is gone.
func (c *Change) Supersedes(earlier *Change) bool {
	switch {
	case c.Drops(earlier.Namespace):
		return earlier.Repeatable()
	case c.Operation != event.DropIndexes || earlier.Namespace != c.Namespace:
		return false
	}

	dropped := c.indexNames()

	switch earlier.Operation {
	case event.CreateIndexes, event.DropIndexes:
		return !slices.ContainsFunc(earlier.indexNames(), func(name string) bool { return !slices.Contains(dropped, name) })
	case event.Modify:
		name, ok := earlier.options.Lookup("index", "name").StringValueOK()
		return ok && slices.Contains(dropped, name)
	default:
		return false
	}
}

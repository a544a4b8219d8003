package verify

import (
	"cmp"
	"fmt"
	"strconv"
	"strings"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/atlas-relay/atlas-relay/e2e/history"
)

// position is a place in the source's order: the cluster time, and the number of the event among all that have it.
type position struct{ t, i, ordinal uint32 }

func (p position) compare(q position) int {
	return cmp.Or(cmp.Compare(p.t, q.t), cmp.Compare(p.i, q.i), cmp.Compare(p.ordinal, q.ordinal))
}

func (p position) String() string { return fmt.Sprintf("%d.%d.%d", p.t, p.i, p.ordinal) }

func parsePosition(s string) (position, error) {
	var numbers [3]uint32

	fields := strings.Split(s, ".")
	if len(fields) != len(numbers) {
		return position{}, fmt.Errorf("%q is no position", s)
	}

	for i, field := range fields {
		n, err := strconv.ParseUint(field, 10, 32)
		if err != nil {
			return position{}, fmt.Errorf("%q is no position", s)
		}

		numbers[i] = uint32(n)
	}

	return position{numbers[0], numbers[1], numbers[2]}, nil
}

// positionOf reads the BSON form of a position.
func positionOf(value bson.RawValue) position {
	doc, _ := value.DocumentOK()

	return position{uint32(number(doc, "t")), uint32(number(doc, "i")), uint32(number(doc, "ordinal"))}
}

// number is a number of a document, 0 where there is none.
func number(doc bson.Raw, path ...string) int64 {
	n, _ := doc.Lookup(path...).AsInt64OK()

	return n
}

func text(doc bson.Raw, path ...string) string {
	s, _ := doc.Lookup(path...).StringValueOK()

	return s
}

// Kinds of changes.
const (
	insertion = "insert"
	update    = "update"
	replaced  = "replace"
	deletion  = "delete"
)

// change is a change event, as far as the checker needs it.
type change struct {
	operation   string
	ns          string // "db.coll", or "db"
	to          string // of a rename
	id          bson.RawValue
	t, i        uint32 // cluster time
	session     string // of its transaction; empty outside
	transaction string // the session, and the number of the transaction in it; empty outside
	version     int64  // v of the document after it; 0 where the event does not tell
	capped      bool   // it makes a capped collection

	fragments, fragment int64 // 1 and 1 unless the server has split the event

	document bson.Raw // fullDocument of an insert or a replace
	fields   bson.Raw // updatedFields of an update
}

// ofDocument tells whether the change is one of a document.
func (c *change) ofDocument() bool {
	return c.operation == insertion || c.operation == update || c.operation == replaced || c.operation == deletion
}

// whole tells whether the document after the change does not depend on what it was before.
func (c *change) whole() bool { return c.operation != update }

func parseChange(raw bson.Raw) (change, error) {
	if err := raw.Validate(); err != nil {
		return change{}, fmt.Errorf("%w: an event: %w", history.ErrDamaged, err)
	}

	c := change{operation: text(raw, "operationType"), ns: namespace(raw, "ns"), to: namespace(raw, "to"), id: raw.Lookup("documentKey", "_id")}
	c.t, c.i, _ = raw.Lookup("clusterTime").TimestampOK()
	c.fragment, c.fragments = max(number(raw, "splitEvent", "fragment"), 1), max(number(raw, "splitEvent", "of"), 1)

	if lsid, ok := raw.Lookup("lsid").DocumentOK(); ok {
		_, id, _ := lsid.Lookup("id").BinaryOK()
		c.session = string(id)
		c.transaction = c.session + "/" + strconv.FormatInt(number(raw, "txnNumber"), 10)
	}

	c.capped, _ = raw.Lookup("operationDescription", "capped").BooleanOK()
	c.document, _ = raw.Lookup("fullDocument").DocumentOK()
	c.fields, _ = raw.Lookup("updateDescription", "updatedFields").DocumentOK()

	if c.version = number(c.fields, "v"); c.operation != update && c.version == 0 {
		c.version = number(c.document, "v")
	}

	return c, nil
}

func namespace(raw bson.Raw, field string) string {
	db, coll := text(raw, field, "db"), text(raw, field, "coll")
	if coll == "" {
		return db
	}

	return db + "." + coll
}

// join adds what another fragment of the same event tells.
func (c *change) join(other *change) {
	c.operation, c.ns = cmp.Or(c.operation, other.operation), cmp.Or(c.ns, other.ns)
	c.session, c.transaction = cmp.Or(c.session, other.session), cmp.Or(c.transaction, other.transaction)
	c.version, c.t, c.i = cmp.Or(c.version, other.version), cmp.Or(c.t, other.t), cmp.Or(c.i, other.i)
	c.fragment = other.fragment

	if c.id.Type == 0 {
		c.id = other.id
	}
}

// changes reads a change stream; fragments of an event that the server has split come as one.
func (m *model) changes(file string, visit func(at time.Time, c *change)) error {
	var open *change

	return history.Each(m.folder, file, func(read *history.Change) error {
		c, err := parseChange(read.Event)
		if err != nil {
			return err
		}

		if open != nil {
			open.join(&c)
			c, open = *open, nil
		}

		if c.fragment < c.fragments {
			open = &c

			return nil
		}

		visit(read.Time, &c)

		return nil
	})
}

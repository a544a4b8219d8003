package routing

import (
	"cmp"
	"slices"

	"github.com/atlas-relay/atlas-relay/pkg/event"
	"github.com/atlas-relay/atlas-relay/pkg/mongodb"
)

// Entry is a collection whose events are not spread by document.
type Entry struct {
	Namespace  event.Namespace
	Collection event.UUID // zero where the source did not say
	Partition  int        // that carries its events; 0 where there are none
	Pin        event.Pin
	// Encrypted (queryable encryption): its events cannot be applied, because
	// no client may write what the server keeps beside it. Pin is PinNone.
	Encrypted bool
}

// Table is the routing table. Make it with FromCatalog or FromMarker. Not safe for
// concurrent use.
type Table struct {
	partitions  int
	byNamespace map[event.Namespace]*Entry
	byUUID      map[event.UUID]*Entry // those whose UUID is known, dropped ones too
	dropped     []*Entry              // the last ones that are no more, at most mostDropped, in the order of their drops
	place       event.Position        // behind the events that it is asked for; zero where it is of their place
}

// mostDropped bounds how many collections that are no more the table remembers.
const mostDropped = 256

// New returns an empty table for a stream with this number of partitions.
func New(partitions int) *Table {
	return &Table{partitions: partitions, byNamespace: map[event.Namespace]*Entry{}, byUUID: map[event.UUID]*Entry{}}
}

// FromCatalog returns the table of a deployment's collections.
func FromCatalog(catalog []mongodb.Collection, partitions int) *Table {
	t := New(partitions)

	for i := range catalog {
		c := &catalog[i]
		t.add(event.Namespace{DB: c.DB, Coll: c.Name}, c.UUID, c)
	}

	return t
}

// KeepPartitions leaves collections that another table knows in the partitions that
// they have there: a rename does not change it, and what failed of a collection
// waits in its partition.
func (t *Table) KeepPartitions(other *Table) {
	for uuid, entry := range t.byUUID {
		if known := other.byUUID[uuid]; known != nil && known.Pin != event.PinNone {
			entry.Partition = known.Partition
		}
	}
}

// RememberDropped remembers what an earlier table knows, or remembers, and this one does
// not: it was dropped between the two, and its events may come still.
func (t *Table) RememberDropped(earlier *Table) {
	for _, known := range earlier.dropped {
		t.rememberOf(known)
	}

	for _, known := range earlier.Entries() {
		t.rememberOf(&known)
	}
}

func (t *Table) rememberOf(earlier *Entry) {
	if t.byUUID[earlier.Collection] == nil {
		t.remember(earlier)
	}
}

// Entries returns what the table holds, sorted by namespace.
func (t *Table) Entries() []Entry {
	entries := make([]Entry, 0, len(t.byNamespace))
	for _, e := range t.byNamespace {
		entries = append(entries, *e)
	}

	slices.SortFunc(entries, func(a, b Entry) int {
		return cmp.Or(cmp.Compare(a.Namespace.DB, b.Namespace.DB), cmp.Compare(a.Namespace.Coll, b.Namespace.Coll))
	})

	return entries
}

// Find returns the entry of the event's collection; ok is false for one whose
// events are spread by document.
func (t *Table) Find(e *event.Event) (entry Entry, ok bool) {
	if found := t.find(e.Namespace, e.Collection); found != nil {
		return *found, true
	}

	return Entry{}, false
}

// find looks for the UUID first: the table may know the collection by a name that
// it gets later, or as one that has been dropped since. What has its name at a later
// place is another one.
func (t *Table) find(ns event.Namespace, uuid event.UUID) *Entry {
	if len(t.byNamespace) == 0 && len(t.dropped) == 0 { // the usual table, asked for every event
		return nil
	}

	if entry := t.byUUID[uuid]; entry != nil || t.isOfLater() && !uuid.IsZero() {
		return entry
	}

	return t.byNamespace[ns]
}

// isDropped tells whether the collection is one that is no more.
func (t *Table) isDropped(uuid event.UUID) bool {
	return !uuid.IsZero() && slices.ContainsFunc(t.dropped, func(e *Entry) bool { return e.Collection == uuid })
}

// Apply makes the table follow a schema change and tells whether it has changed.
// All other events leave it as it is.
func (t *Table) Apply(e *event.Event) (changed bool) {
	if e.Operation.IsDocument() {
		return false
	}

	if t.isOfLater() {
		return t.foresee(e)
	}

	if e.Operation != event.Create && t.isDropped(e.Collection) {
		return false // what has its name is another one
	}

	switch e.Operation {
	case event.Create:
		return t.create(e)
	case event.Drop:
		return t.drop(e)
	case event.DropDatabase:
		return t.dropDatabase(e.Namespace.DB)
	case event.Rename:
		return t.rename(e)
	case event.ReshardCollection:
		return t.reshard(e)
	default:
		return false
	}
}

func (t *Table) create(e *event.Event) (changed bool) {
	if known := t.byUUID[e.Collection]; known != nil && !t.isDropped(e.Collection) {
		return t.move(known, e.Namespace)
	}

	if stale := t.byNamespace[e.Namespace]; stale != nil { // its drop was not seen, or it got another UUID
		t.remove(stale)

		changed = true
	}

	return t.add(e.Namespace, e.Collection, created(e)) || changed
}

func (t *Table) drop(e *event.Event) (changed bool) {
	entry := t.find(e.Namespace, e.Collection)
	if entry == nil || !e.Collection.IsZero() && !entry.Collection.IsZero() && entry.Collection != e.Collection {
		return false // it is of a later collection of that name
	}

	t.remove(entry)

	return true
}

func (t *Table) dropDatabase(db string) (changed bool) {
	for ns, entry := range t.byNamespace {
		if ns.DB == db {
			t.remove(entry)

			changed = true
		}
	}

	return changed
}

// rename leaves the partition: what is parked there under the old name goes on
// under the new one, and nothing of it may overtake.
func (t *Table) rename(e *event.Event) (changed bool) {
	entry := t.find(e.Namespace, e.Collection)

	if target := t.byNamespace[e.To]; target != nil && target != entry {
		t.remove(target) // dropped by the rename

		changed = true
	}

	if entry == nil {
		return changed
	}

	if !e.Collection.IsZero() && entry.Collection != e.Collection {
		t.setUUID(entry, e.Collection)

		changed = true
	}

	return t.move(entry, e.To) || changed
}

// move gives the entry another name.
func (t *Table) move(entry *Entry, ns event.Namespace) (changed bool) {
	if entry.Namespace == ns {
		return false
	}

	if stale := t.byNamespace[ns]; stale != nil {
		t.remove(stale)
	}

	delete(t.byNamespace, entry.Namespace)
	entry.Namespace = ns
	t.byNamespace[ns] = entry

	return true
}

// reshard takes over the UUID that the collection has from now on. The source sends
// the event behind the first documents with it, which are found by their name.
func (t *Table) reshard(e *event.Event) (changed bool) {
	entry := t.byUUID[e.Collection]
	if entry == nil {
		return false
	}

	// MongoDB's documentation calls it the UUID of the operation. It is that of the collection, too: the server's own tests
	// of the event expect what the catalog then says.
	_, bytes, ok := e.Raw.Lookup("operationDescription", "reshardUUID").BinaryOK()

	uuid, err := event.ParseUUID(bytes)
	if !ok || err != nil || uuid.IsZero() {
		return false
	}

	t.setUUID(entry, uuid)

	return true
}

// setUUID gives the entry another UUID. By the one that it had it is remembered.
func (t *Table) setUUID(entry *Entry, uuid event.UUID) {
	former := *entry
	entry.Collection = uuid
	t.byUUID[uuid] = entry
	t.remember(&former)
}

// add takes the collection in if its events are not spread by document.
func (t *Table) add(ns event.Namespace, uuid event.UUID, c *mongodb.Collection) bool {
	entry := t.entryOf(ns, uuid, c)
	if entry == nil {
		return false
	}

	t.insert(entry)

	return true
}

// entryOf returns nil for a collection whose events are spread by document.
func (t *Table) entryOf(ns event.Namespace, uuid event.UUID, c *mongodb.Collection) *Entry {
	entry := &Entry{Namespace: ns, Collection: uuid}

	switch {
	case event.IsInternal(ns), c.Type != collectionType: // a view may have a collation, too
		return nil
	case c.Encrypted:
		entry.Encrypted = true
	case c.Capped:
		entry.Pin, entry.Partition = event.PinCapped, event.PartitionOf(ns, t.partitions)
	case c.Collation != "":
		entry.Pin, entry.Partition = event.PinCollation, event.PartitionOf(ns, t.partitions)
	default:
		return nil
	}

	return entry
}

func (t *Table) insert(entry *Entry) {
	t.byNamespace[entry.Namespace] = entry

	if entry.Collection.IsZero() {
		return
	}

	t.byUUID[entry.Collection] = entry
	t.dropped = slices.DeleteFunc(t.dropped, func(e *Entry) bool { return e.Collection == entry.Collection })
}

func (t *Table) remove(entry *Entry) {
	delete(t.byNamespace, entry.Namespace)
	t.remember(entry)
}

// remember keeps a collection that is no more, if it can be told from a later one of its name.
func (t *Table) remember(entry *Entry) {
	if entry.Collection.IsZero() {
		return
	}

	t.byUUID[entry.Collection] = entry
	t.dropped = append(t.dropped, entry)

	if len(t.dropped) > mostDropped {
		delete(t.byUUID, t.dropped[0].Collection)
		t.dropped = t.dropped[1:]
	}
}

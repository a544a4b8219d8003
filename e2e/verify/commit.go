package verify

import (
	"fmt"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"
)

// checkpoint is a partition's, as the target's change stream tells it.
type checkpoint struct {
	epoch, owner, commits                int64
	stream                               string
	generation, sequence, event, counted int64
	at                                   position
}

// set takes in one field of an event, by its path: servers tell a change of a nested document as one of the whole, or of
// its fields.
func (c *checkpoint) set(path string, value bson.RawValue) {
	numbers := map[string]*int64{
		FieldEpoch: &c.epoch, FieldOwner: &c.owner, FieldCommits: &c.commits, FieldGeneration: &c.generation,
		FieldSequence: &c.sequence, FieldEvent: &c.event, FieldCount: &c.counted,
	}
	places := map[string]*uint32{FieldT: &c.at.t, FieldI: &c.at.i, FieldOrdinal: &c.at.ordinal}
	n, _ := value.AsInt64OK()

	switch {
	case path == FieldPlace || path == FieldPosition:
		nested, _ := value.DocumentOK()
		c.setAll(path+".", nested)
	case path == FieldStreamID:
		c.stream, _ = value.StringValueOK()
	case numbers[path] != nil:
		*numbers[path] = n
	case places[path] != nil:
		*places[path] = uint32(n)
	}
}

func (c *checkpoint) setAll(prefix string, fields bson.Raw) {
	elements, _ := fields.Elements() // the whole event was validated
	for _, e := range elements {
		c.set(prefix+e.Key(), e.Value())
	}
}

// lane is one partition: its events, and how far the target has come.
type lane struct {
	events []int // in the source's order
	next   int   // the first of them that no checkpoint is past

	open       *commit // that was not judged yet
	checkpoint checkpoint
	changed    string // the last change of its owner, for people
	split      map[int32]bool
}

// shown is one write to a document that the target's change stream tells.
type shown struct {
	document  *document
	operation string
	version   int64
}

// commit is one transaction of a processor on the target: what moved a checkpoint, and all that came with it.
type commit struct {
	transaction string
	at          time.Time
	foreign     bool // of another flow
	closed      bool // it was judged
	lane        *lane
	partition   int
	after       checkpoint

	writes   []shown
	touched  []*document
	fresh    map[*document][]int    // events that it covers or releases
	covers   map[*document]position // documents that were read from the source again, at this time of it
	released []*record              // records that it ends, in order
}

func newCommit(transaction string) *commit {
	return &commit{transaction: transaction, fresh: map[*document][]int{}, covers: map[*document]position{}}
}

// touch remembers that the document has to be judged.
func (c *commit) touch(d *document) {
	if _, known := c.fresh[d]; !known {
		c.fresh[d] = nil
		c.touched = append(c.touched, d)
	}
}

// cover adds an event that the target is to have with this commit.
func (c *commit) cover(d *document, event int) {
	c.touch(d)

	c.fresh[d] = append(c.fresh[d], event)
}

// String is the commit for people.
func (c *commit) String() string {
	before := &c.lane.checkpoint

	return fmt.Sprintf("commit %d of p%02d (epoch %d, event %d→%d)", c.after.commits, c.partition, c.after.epoch, before.event, c.after.event)
}

// judgeOwner is I6.
func (m *model) judgeOwner(c *commit) {
	before, after := &c.lane.checkpoint, &c.after

	switch {
	case after.epoch < before.epoch:
		m.find(Finding{
			Invariant: I6, Kind: "lower epoch", At: c.at,
			Verdict: fmt.Sprintf("%s at %s comes behind epoch %d", c, m.since(c.at), before.epoch),
		})
	case after.epoch == before.epoch && after.owner != before.owner:
		m.find(Finding{
			Invariant: I6, Kind: "two owners", At: c.at,
			Verdict: fmt.Sprintf("%s at %s is of owner %x, the one before in the same epoch of %x", c, m.since(c.at), uint64(after.owner), uint64(before.owner)),
		})
	case after.epoch > before.epoch && before.epoch > 0:
		c.lane.changed = fmt.Sprintf("; owner p%02d epoch %d→%d at event %d", c.partition, before.epoch, after.epoch, before.event)
	}
}

// judgePlace is the part of I7 that a checkpoint answers by itself: it counts each commit, never goes back, and names a
// message that the stream has.
func (m *model) judgePlace(c *commit) {
	before, after := &c.lane.checkpoint, &c.after
	find := func(kind, format string, args ...any) {
		m.find(Finding{Invariant: I7, Kind: kind, At: c.at, Verdict: fmt.Sprintf("%s at %s ", c, m.since(c.at)) + fmt.Sprintf(format, args...)})
	}

	acquired := after.epoch != before.epoch && after.commits == before.commits
	first := before.epoch == 0

	switch {
	case !first && !acquired && after.commits != before.commits+1:
		find("commits", "comes behind commit %d", before.commits)
	case after.stream == before.stream && after.at.compare(before.at) < 0:
		find("went back", "takes the checkpoint back from position %s to %s", before.at, after.at)
	case after.stream == m.stream.id:
		m.judgeSequence(c, find)
	}
}

// judgeSequence holds the checkpoint against the message that it names.
func (m *model) judgeSequence(c *commit, find func(kind, format string, args ...any)) {
	sequence := uint64(c.after.sequence)
	if m.stream.replaced > 0 && sequence >= m.stream.replaced || sequence < m.stream.first || m.holes {
		return
	}

	named, there := m.stream.messages[sequence]

	switch {
	case !there:
		find("no message", "names message %d, which the stream does not have", sequence)
	case named.event != uint64(c.after.event) || named.at != c.after.at || named.generation != uint64(c.after.generation):
		find("another message", "names message %d as event %d at %s, which is event %d at %s", sequence, c.after.event, c.after.at, named.event, named.at)
	case named.kind == ofEvent && named.partition != c.partition:
		find("another partition", "names message %d, which is of p%02d", sequence, named.partition)
	case named.kind == ofEvent && named.count != uint64(c.after.counted):
		find("another count", "names message %d with count %d, which has %d", sequence, c.after.counted, named.count)
	}
}

// advance takes in the events that the checkpoint is past now.
func (m *model) advance(c *commit) {
	l := c.lane
	from := l.next

	for l.next < len(l.events) && m.events[l.events[l.next]].at.compare(c.after.at) <= 0 {
		e := &m.events[l.events[l.next]]
		e.covered = true

		if e.document != nil {
			c.cover(e.document, l.events[l.next])
		}

		l.next++
	}

	if l.next > from {
		m.judgeTogether(c, from)
	}
}

// judgeTogether is I4: what one transaction of the source did in this partition is committed at once.
func (m *model) judgeTogether(c *commit, from int) {
	l := c.lane
	transaction := func(at int) int32 {
		if at < 0 || at >= len(l.events) {
			return 0
		}

		return m.events[l.events[at]].transaction
	}

	for at := from; at < l.next; at++ { // whose last write is this, and not its only one
		if t := transaction(at); t != 0 && transaction(at+1) != t && transaction(at-1) == t && !l.split[t] {
			m.report.Figures.Together++
		}
	}

	t := transaction(l.next)
	if t == 0 || transaction(l.next-1) != t || l.split[t] {
		return
	}

	if l.split == nil {
		l.split = map[int32]bool{}
	}

	l.split[t] = true
	m.report.Figures.Split++

	if !m.limits.WholeTransactions {
		return
	}

	e := &m.events[l.events[l.next]]
	m.find(Finding{
		Invariant: I4, Kind: "split transaction", At: c.at,
		Verdict: fmt.Sprintf("%s at %s ends amid a transaction of the source\nevent at %s on %s, of the same transaction and partition, is not in it", c, m.since(c.at), e.at, e.ns),
	})
}

package simulation

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/atlas-relay/atlas-relay/e2e/simulation/mongomodel"
	"github.com/atlas-relay/atlas-relay/pkg/checkpoint"
	"github.com/atlas-relay/atlas-relay/pkg/event"
	"github.com/atlas-relay/atlas-relay/pkg/parked"
	"github.com/atlas-relay/atlas-relay/services/processor/stepwise"
)

// judge watches a run. What it knows it has from the source's own history, and from what
// the servers hold: nothing from the services.
type judge struct {
	*world

	failure error

	struck  map[string]int // what happened how often; for the vacuity check
	changed changed
	samples int // at which the counters had to add up
	commits int

	epochs    map[int]ownership      // of each partition: the last that committed
	versions  map[int]int64          // highest v of each document that the target had
	exempt    map[int]event.Position // documents that were read from the source, and may be of the future up to there
	images    map[int]bool           // documents that ever came so
	forgotten bool                   // the source has lost its history
	replaced  bool                   // the stream was made anew
	begins    int                    // how many changes of the source came before the stream: it knows nothing of them
	damaged   uint64                 // generation that heals what the stream has lost amid; 0: it has lost nothing
	messages  map[*nats.Msg]event.Message
}

type ownership struct {
	epoch, owner int64
}

// changed counts the changes of the source while something is wrong.
type changed struct {
	open   []period
	counts map[string]int
}

type period struct {
	name string
	end  time.Time
}

func (c *changed) during(name string, end time.Time) { c.open = append(c.open, period{name, end}) }

func newJudge(w *world) *judge {
	return &judge{
		world: w, struck: map[string]int{}, changed: changed{counts: map[string]int{}},
		epochs: map[int]ownership{}, versions: map[int]int64{}, exempt: map[int]event.Position{}, images: map[int]bool{}, messages: map[*nats.Msg]event.Message{},
	}
}

// happened takes in that the source has changed.
func (j *judge) happened() {
	for _, p := range j.changed.open {
		if !j.now.After(p.end) {
			j.changed.counts[p.name]++
		}
	}
}

// fail ends the run.
func (j *judge) fail(format string, arguments ...any) {
	if j.failure == nil {
		j.failure = fmt.Errorf(format, arguments...)
		j.tell("judge", "%v", j.failure)
	}
}

// restored takes in that the target is as it was before. A document may then be one of those that came from the source
// itself, and the partition may have been past that already.
func (j *judge) restored() {
	clear(j.versions)

	for k := range keys {
		if raw := j.target.Find(taken, int32(k)); raw != nil {
			j.versions[k] = raw.Lookup("v").AsInt64()
		}

		if j.images[k] {
			j.exempt[k] = j.upToNow()
		}
	}
}

// upToNow is behind all that the source has done so far.
func (j *judge) upToNow() event.Position {
	return event.Position{T: j.source.times.T, I: j.source.times.I, Ordinal: ^uint32(0)}
}

// commit judges a transaction that has just taken effect.
func (j *judge) commit(c *mongomodel.Commit) {
	j.commits++
	held := &c.Checkpoint
	j.tell("target", "commit %d of partition %d, epoch %d: event %d at %s, %+v, parked %d", held.Commits, held.Partition, held.Epoch, held.Event, held.Position, held.Counters, held.Parked)

	last := j.epochs[held.Partition]
	if held.Epoch < last.epoch || held.Epoch == last.epoch && held.Owner != last.owner {
		j.fail("single writer: partition %d: epoch %d of owner %d commits after epoch %d of owner %d", held.Partition, held.Epoch, held.Owner, last.epoch, last.owner)
	}

	j.epochs[held.Partition] = ownership{held.Epoch, held.Owner}

	imaged, seen := j.imaged(c), map[int]bool{}

	for i := range c.Statements {
		s := &c.Statements[i]
		if s.Namespace != taken {
			continue
		}

		if key := int(marshalled(s.Filter).Lookup("_id").AsInt64()); !seen[key] {
			seen[key] = true
			j.written(c, key, imaged)
		}
	}

	if j.commits%4 == 0 {
		j.sample()
	}
}

// imaged tells which documents the transaction has from the source itself: they may be
// of the future, or deleted so that others can go on.
func (*judge) imaged(c *mongomodel.Commit) bool {
	if len(c.Before[event.Namespace{DB: checkpoint.Database, Coll: parked.Refetched}]) > 0 {
		return true
	}

	for i := range c.Statements {
		if s := &c.Statements[i]; s.Namespace == taken && s.Verb == stepwise.Delete && s.Change.Event.Operation != event.Delete {
			return true
		}
	}

	return false
}

// written judges a document that a transaction has written: it is not older than what
// was there, and, unless something of it is set aside, it is what the source had where
// the checkpoint stands.
func (j *judge) written(c *mongomodel.Commit, key int, imaged bool) {
	now := j.target.Find(taken, int32(key))

	if until, known := j.exempt[key]; known && until.Before(c.Checkpoint.Position) {
		delete(j.exempt, key)
		delete(j.versions, key)
	}

	if imaged {
		j.exempt[key], j.images[key] = j.upToNow(), true
	}

	_, exempt := j.exempt[key]

	v := versionOf(now)
	if before, known := j.versions[key]; known && now != nil && !exempt && v <= before {
		j.fail("nothing twice: document %d goes from version %d to %d", key, before, v)
	}

	if now != nil && !exempt {
		j.versions[key] = max(v, j.versions[key])
	}

	if exempt || j.isAside(key) || c.Checkpoint.StreamID != firstStream {
		return
	}

	want := j.stateAt(key, c.Checkpoint.Position)
	if !bytes.Equal(want, now) {
		j.fail("checkpoint and data: partition %d says event %d at %s, document %d is %s, the source had %s",
			c.Checkpoint.Partition, c.Checkpoint.Event, c.Checkpoint.Position, key, shown(now), shown(want))
	}
}

func marshalled(d bson.D) bson.Raw {
	raw, _ := bson.Marshal(d) // of values that were encoded before

	return raw
}

func versionOf(document bson.Raw) int64 {
	if document == nil {
		return 0
	}

	return document.Lookup("v").AsInt64()
}

// shown is a document for people, without what only makes it large.
func shown(document bson.Raw) string {
	if document == nil {
		return "gone"
	}

	var fields []string

	elements, _ := document.Elements()
	for _, e := range elements {
		if e.Key() != "pad" {
			fields = append(fields, e.Key()+":"+e.Value().String())
		}
	}

	return strings.Join(fields, " ")
}

// isAside tells whether an event of the document waits, or was given up.
func (j *judge) isAside(key int) bool {
	for _, r := range j.records() {
		if k, ok := r.DocumentKey.Lookup("_id").AsInt64OK(); ok && int(k) == key && (r.State == parked.Waiting || r.State == parked.Dead) {
			return true
		}
	}

	return false
}

func (j *judge) records() []parked.Record {
	all := j.target.All(event.Namespace{DB: checkpoint.Database, Coll: parked.Collection})
	list := make([]parked.Record, len(all))

	for i, raw := range all {
		if err := bson.Unmarshal(raw, &list[i]); err != nil {
			j.fail("a record cannot be read: %w", err)
		}
	}

	return list
}

// stateAt is the document as the source had it after everything up to a position.
func (j *judge) stateAt(key int, at event.Position) bson.Raw {
	state := j.source.initial[key]

	for i := range j.source.changes {
		c := &j.source.changes[i]
		if c.at.Compare(at) > 0 {
			break
		}

		if c.key == key {
			state = c.after
		}
	}

	return state
}

// checkpoints are those of all partitions; ok is false while one is missing.
func (j *judge) checkpoints() (all []checkpoint.Document, ok bool) {
	for _, raw := range j.target.All(event.Namespace{DB: checkpoint.Database, Coll: checkpoint.Collection}) {
		var d checkpoint.Document
		if err := bson.Unmarshal(raw, &d); err != nil {
			j.fail("a checkpoint cannot be read: %w", err)
		}

		all = append(all, d)
	}

	return all, len(all) == j.plan.Partitions
}

// sample compares the counters with the stream, where the two speak of the same.
func (j *judge) sample() {
	all, ok := j.checkpoints()
	if !ok || j.replaced {
		return
	}

	s := j.streamNow()
	if s == nil || !s.last.EndsEvent() {
		return
	}

	sum, pending := int64(0), int64(0)

	for i := range all {
		d := &all[i]
		if d.StreamGeneration() != s.last.Generation || !s.has(d) || uint64(d.Count) > s.heads[d.Partition] {
			return // moving
		}

		sum += d.Counters.Processed + d.Counters.Failed + d.Counters.Skipped
		pending += int64(s.heads[d.Partition]) - d.Count + d.Parked
	}

	total := int64(s.last.Event)

	// Of a partition's last messages that are gone nobody knows before the stream is rewound.
	unknown := total - sum - int64(s.last.Skipped) - pending
	if unknown > 0 && s.last.Generation < j.damaged {
		return
	}

	j.samples++

	if unknown != 0 {
		j.fail("counters: total %d, but processed, failed and skipped are %d, %d skipped by the listener, %d pending", total, sum, s.last.Skipped, pending)
	}
}

// rest judges the end: everything is quiet, and must be right.
func (j *judge) rest() {
	for k := range keys {
		if j.source.documents[k] == nil && j.target.Find(taken, int32(k)) == nil || !j.isTouched(k) {
			continue
		}

		if got, want := j.target.Find(taken, int32(k)), j.source.documents[k]; !bytes.Equal(got, want) && !j.isDead(k) {
			j.fail("nothing lost: document %d is %s in the target, %s at the source", k, shown(got), shown(want))
		}
	}

	for _, r := range j.records() {
		if r.State == parked.Waiting {
			j.fail("an event of document %s waits for ever: %s %s", r.DocumentKey, r.Reason, r.Error)
		}

		if r.State == parked.Dead && !j.wasBad(int(r.DocumentKey.Lookup("_id").AsInt64())) {
			j.fail("dead letter of a healthy document %s: %s %s", r.DocumentKey, r.Reason, r.Error)
		}
	}

	if j.begins > 0 {
		j.struck["at rest on a stream that was made anew"]++
	}

	before := j.samples
	j.sample()

	if j.samples == before && !j.replaced { // else the events of the stream before are in no number
		j.fail("the counters do not come to rest")
	}
}

// isTouched tells whether the document has changed since the stream began.
func (j *judge) isTouched(key int) bool {
	return slices.ContainsFunc(j.source.changes[j.begins:], func(c change) bool { return c.key == key })
}

func (j *judge) isDead(key int) bool {
	for _, r := range j.records() {
		if r.State == parked.Dead && int(r.DocumentKey.Lookup("_id").AsInt64()) == key {
			return true
		}
	}

	return false
}

// wasBad tells whether the source ever had the document such that the target refuses it.
func (j *judge) wasBad(key int) bool {
	for i := range j.source.changes {
		c := &j.source.changes[i]
		if c.key == key && c.after != nil && c.after.Lookup(mongomodel.FieldBad).AsInt64() == 1 {
			return true
		}
	}

	return false
}

var errNoRest = errors.New("the flow does not come to rest")

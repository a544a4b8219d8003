package simulation

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"

	"github.com/atlas-relay/atlas-relay/e2e/simulation/mongomodel"
	"github.com/atlas-relay/atlas-relay/pkg/event"
	"github.com/atlas-relay/atlas-relay/pkg/refetch"
)

// The collections of the source.
var (
	taken    = event.Namespace{DB: "shop", Coll: "items"}            //nolint:gochecknoglobals // a constant
	left     = event.Namespace{DB: "shop", Coll: "logs"}             //nolint:gochecknoglobals // a constant
	internal = event.Namespace{DB: "atlas_relay", Coll: "sightings"} //nolint:gochecknoglobals // a constant
)

// keys is how many documents the source has.
const keys = 8

// change is one of the source, with what the judge has to know of it.
type change struct {
	event  event.Event
	number int      // from 1: the v that it gave its document
	key    int      // of the document; -1 where it is in another collection
	after  bson.Raw // of the document; nil: it is gone
	at     event.Position
}

// source is a deployment: its documents, their history and the change stream. Token n
// leads to what comes behind change n/tokenStep; those in between come when nothing
// happens.
type source struct {
	*world

	random    *rand.Rand
	changes   []change
	documents [keys]bson.Raw
	times     bson.Timestamp
	oldest    int // changes up to this number are forgotten
	idle      int
	nextIdle  time.Time
	unique    bool
	initial   [keys]bson.Raw // that the stream was begun without
}

const tokenStep = 1000

func tokenOf(n int) bson.Raw {
	raw, _ := bson.Marshal(bson.D{{Key: "_data", Value: fmt.Sprintf("%010d", n)}}) // of a string

	return raw
}

func numberOf(token bson.Raw) int {
	text, _ := token.Lookup("_data").StringValueOK()
	n, _ := strconv.Atoi(text)

	return n
}

func newSource(w *world) *source {
	s := &source{world: w, random: rand.New(rand.NewPCG(w.plan.Seed, 2)), times: bson.Timestamp{T: uint32(epoch.Unix())}, unique: w.plan.Unique}

	for k := range keys {
		if s.random.IntN(4) == 0 { // it is there before the stream is
			s.documents[k] = s.image(k, 0)
			s.initial[k] = s.documents[k]
		}
	}

	return s
}

// image is a whole document.
func (s *source) image(key, v int) bson.Raw {
	bad := 0
	if s.plan.Poison && s.random.IntN(8) == 0 {
		bad = 1
	}

	raw, _ := bson.Marshal(bson.D{ // of numbers
		{Key: "_id", Value: int32(key)},
		{Key: "v", Value: int64(v)},
		{Key: mongomodel.FieldBad, Value: int32(bad)},
		{Key: mongomodel.FieldUnique, Value: int32(s.freeValue(key))},
		{Key: "pad", Value: s.padding()},
	})

	return raw
}

// padding makes some events larger than a message.
func (s *source) padding() []byte {
	if s.random.IntN(12) == 0 {
		return make([]byte, 2500+s.random.IntN(2000))
	}

	return make([]byte, s.random.IntN(8))
}

// freeValue is one of FieldUnique that no other document has.
func (s *source) freeValue(key int) int {
	if !s.unique {
		return 0
	}

	u := 1 + s.random.IntN(keys+2)
	for k, document := range s.documents {
		if k != key && document != nil && document.Lookup(mongomodel.FieldUnique).AsInt64() == int64(u) {
			return s.freeValue(key)
		}
	}

	return u
}

// happen makes the next changes: one, or those of a transaction, which have one time and
// are seen all at once.
func (s *source) happen() {
	s.times = bson.Timestamp{T: uint32(s.now.Unix()), I: s.times.I + 1}
	s.idle = 0

	for range max(1, s.random.IntN(5)-1) {
		s.one(len(s.changes) + 1)
	}
}

// one makes one change.
func (s *source) one(n int) {
	switch s.random.IntN(14) {
	case 0:
		s.record(n, -1, left, event.Insert, bson.D{{Key: "documentKey", Value: bson.D{{Key: "_id", Value: n}}}, {Key: "fullDocument", Value: bson.D{{Key: "_id", Value: n}}}})
	case 1:
		s.record(n, -1, internal, event.Insert, bson.D{{Key: "documentKey", Value: bson.D{{Key: "_id", Value: n}}}, {Key: "fullDocument", Value: bson.D{{Key: "_id", Value: n}}}})
	default:
		s.touch(n, s.random.IntN(keys))
	}
}

// touch changes a document.
func (s *source) touch(n, key int) {
	id := bson.E{Key: "documentKey", Value: bson.D{{Key: "_id", Value: int32(key)}}}

	switch before := s.documents[key]; {
	case before == nil:
		s.documents[key] = s.image(key, n)
		s.record(n, key, taken, event.Insert, bson.D{id, {Key: "fullDocument", Value: s.documents[key]}})
	case s.random.IntN(8) == 0:
		s.documents[key] = nil
		s.record(n, key, taken, event.Delete, bson.D{id})
	case s.random.IntN(6) == 0:
		s.documents[key] = s.image(key, n)
		s.record(n, key, taken, event.Replace, bson.D{id, {Key: "fullDocument", Value: s.documents[key]}})
	default:
		s.update(n, key, id)
	}
}

func (s *source) update(n, key int, id bson.E) {
	set := bson.D{{Key: "v", Value: int64(n)}}

	switch s.random.IntN(4) {
	case 0:
		set = append(set, bson.E{Key: "x" + strconv.Itoa(s.random.IntN(3)), Value: int32(n)})
	case 1:
		if s.unique {
			set = append(set, bson.E{Key: mongomodel.FieldUnique, Value: int32(s.freeValue(key))})
		}
	case 2:
		if s.plan.Poison && s.random.IntN(3) == 0 {
			set = append(set, bson.E{Key: mongomodel.FieldBad, Value: int32(s.random.IntN(2))})
		}
	default:
	}

	removed := bson.A{}
	update := bson.D{{Key: "$set", Value: set}}

	if s.random.IntN(8) == 0 {
		removed = append(removed, "x0")
		update = append(update, bson.E{Key: "$unset", Value: bson.D{{Key: "x0", Value: ""}}})

		set = slices.DeleteFunc(set, func(e bson.E) bool { return e.Key == "x0" })
		update[0].Value = set
	}

	s.documents[key] = mongomodel.Apply(s.documents[key], update, false)
	s.record(n, key, taken, event.Update, bson.D{id, {Key: "updateDescription", Value: bson.D{
		{Key: "updatedFields", Value: set}, {Key: "removedFields", Value: removed}, {Key: "truncatedArrays", Value: bson.A{}},
	}}})
}

func (s *source) record(n, key int, ns event.Namespace, operation event.Operation, fields bson.D) {
	raw, err := bson.Marshal(append(bson.D{
		{Key: "_id", Value: tokenOf(n * tokenStep)},
		{Key: "operationType", Value: operation},
		{Key: "clusterTime", Value: s.times},
		{Key: "ns", Value: bson.D{{Key: "db", Value: ns.DB}, {Key: "coll", Value: ns.Coll}}},
	}, fields...))
	if err != nil {
		panic("simulation: " + err.Error())
	}

	e, err := event.Parse(raw)
	if err != nil {
		panic("simulation: " + err.Error())
	}

	c := change{event: e, number: n, key: key, at: event.Position{T: s.times.T, I: s.times.I}}
	if last := len(s.changes) - 1; last >= 0 && s.changes[last].event.ClusterTime == s.times {
		c.at.Ordinal = s.changes[last].at.Ordinal + 1
	}

	if key >= 0 {
		c.after = s.documents[key]
	}

	s.changes = append(s.changes, c)
	s.tell("source", "%d: %s %s %d", n, operation, ns.Coll, key)
	s.judge.happened()
}

// open tells whether the change stream can be read behind the token.
func (s *source) open(token bson.Raw) error {
	if s.now.Before(s.weather.sourceDown) {
		return mongomodel.ErrAway()
	}

	if numberOf(token)/tokenStep < s.oldest {
		return mongo.CommandError{Code: 286, Name: "ChangeStreamHistoryLost", Message: "the resume point may no longer be in the oplog"}
	}

	return nil
}

// next returns what comes behind the token: a change, or a token without one, or nothing.
func (s *source) next(token bson.Raw) (c *change, after bson.Raw, err error) {
	if err := s.open(token); err != nil {
		return nil, nil, err
	}

	if i := numberOf(token) / tokenStep; i < len(s.changes) {
		return &s.changes[i], tokenOf((i + 1) * tokenStep), nil
	}

	if !s.now.Before(s.nextIdle) && s.idle < tokenStep-1 {
		s.nextIdle = s.now.Add(time.Second)
		s.idle++
	}

	if at := len(s.changes)*tokenStep + s.idle; at > numberOf(token) {
		return nil, tokenOf(at), nil
	}

	return nil, nil, nil
}

// reader asks the source for documents, as a processor does through the listener.
type reader struct{ process *process }

// Fetch returns a document as it is, and T, which was read before it. What the source
// does in between is in the image already.
func (r reader) Fetch(_ context.Context, _ event.Namespace, documentKey bson.Raw, _ bson.Timestamp) (refetch.Image, error) {
	p := r.process
	p.pause(p.delay())

	if p.isQuiet() {
		return refetch.Image{}, refetch.ErrNoListener
	}

	at := p.source.times
	p.pause(p.between(0, straggler))

	if p.isQuiet() {
		return refetch.Image{}, refetch.ErrNoListener
	}

	key := documentKey.Lookup("_id").AsInt64()
	p.judge.struck["document asked for"]++

	return refetch.Image{Document: p.source.documents[key], Time: at}, nil
}

// isQuiet tells that nobody answers for the source.
func (p *process) isQuiet() bool {
	return p.now.Before(p.weather.sourceDown) || !p.wire.connected()
}

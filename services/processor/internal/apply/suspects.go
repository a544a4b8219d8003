package apply

import (
	"bytes"
	"sync"

	"github.com/cespare/xxhash/v2"
	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/x/bsonx/bsoncore"

	"github.com/atlas-relay/atlas-relay/pkg/event"
)

// Suspects remembers what the documents had that the target refused, and no document had that it took. A refused write
// undoes its transaction, so the sooner it comes the less is done twice: writes that have such a sign are sent before
// the others.
//
// A sign is the names and types of a document's fields together, or one field with its value, when that is short: a
// status that the validator does not know, a flag. What no single value gives away (a range, two fields that contradict
// each other) stays unforeseen, and costs its batch a second time.
//
// Every document is looked at while something is suspect, twice where a batch is sent again, so that has to cost next to
// nothing: only fields are hashed of which a sign is known that is not innocent, and nothing is allocated. Hashing all of
// them was half of what refusals cost the processor.
//
// Measured in CPU time of processor and target, 1 of 100 refused for a value that no other has: the rate falls to 60 % of
// that without refusals when nothing is foreseen. What remains with signs is mostly the refusal itself: a transaction
// that is undone, one that follows, and a record. So what has a sign that was refused often, and never taken, is not sent
// with its batch at all: it is parked and tried from there, one of few while batches come. If it is healthy after all,
// say because the validator was changed, it is applied a moment later, and its sign is innocent from then on.
//
// All partitions of a processor share what one of them has learnt: each sign costs a batch or two that are sent twice,
// which was a third of the cost of refusals while every partition had to learn by itself. Safe for concurrent use.
type Suspects struct {
	mu    sync.RWMutex
	signs map[uint64]sign
	order []uint64 // of signs, as they came; the oldest is forgotten first

	// watched are the fields of which a sign is not innocent, with the most refusals of one.
	watched map[string]int
	any     bool // a sign is under suspicion
}

// sign is what is known about one.
type sign struct {
	refusals int // innocent: a document that had it was taken
	field    string
}

const (
	innocent = -1
	// enough refusals make a value suspect: most values of a refused document are nothing special, as the documents show
	// that are taken with it. So many more make it certain enough not to ask with the batch.
	enough = 2
	sure   = 8
	// maxSigns bounds the memory, and maxSign the values that are looked at, in bytes.
	maxSigns = 2048
	maxSign  = 32
	// ofShape stands for a field's name where the sign is a shape. No field has a name with a zero byte.
	ofShape = "\x00"
)

// Remember takes in a change that was refused; lasting tells that it will be again, whatever becomes of other documents.
// Only such refusals make certain.
func (s *Suspects) Remember(c *Change, lasting bool) {
	writes, err := writesOf(c)
	if err != nil || len(writes) == 0 {
		return
	}

	s.mu.Lock()
	defer s.mu.Unlock()

	if s.signs == nil {
		s.signs = map[uint64]sign{}
	}

	writes[0].signs(func([]byte) bool { return true }, func(hash uint64, field []byte) bool {
		known, found := s.signs[hash]

		switch {
		case known.refusals == innocent:
			return true
		case string(field) == ofShape:
			known.refusals = max(enough, known.refusals+1)
		default:
			known.refusals++
		}

		if !lasting {
			known.refusals = min(known.refusals, enough)
		}

		if !found {
			s.admit(hash)

			known.field = string(field)
		}

		s.signs[hash] = known

		return true
	})

	s.watch()
}

// admit makes room for a sign.
func (s *Suspects) admit(hash uint64) {
	if len(s.order) == maxSigns {
		delete(s.signs, s.order[0])
		s.order = s.order[1:]
	}

	s.order = append(s.order, hash)
}

// watch works out which fields are to be looked at.
func (s *Suspects) watch() {
	s.watched, s.any = make(map[string]int, len(s.watched)), false

	for _, known := range s.signs {
		if known.refusals != innocent {
			s.watched[known.field] = max(s.watched[known.field], known.refusals)
			s.any = s.any || known.refusals >= enough
		}
	}
}

// Acquit takes in a plan that was committed: what its documents have is no sign.
func (s *Suspects) Acquit(p *Plan) {
	taken := s.accused(p)
	if len(taken) == 0 {
		return
	}

	s.mu.Lock()
	defer s.mu.Unlock()

	for _, hash := range taken {
		if known, found := s.signs[hash]; found {
			known.refusals = innocent
			s.signs[hash] = known
		}
	}

	s.watch()
}

// accused are the signs of the plan's documents that are known, and not known to be innocent.
func (s *Suspects) accused(p *Plan) []uint64 {
	s.mu.RLock()
	defer s.mu.RUnlock()

	if len(s.watched) == 0 {
		return nil
	}

	var list []uint64

	for i := range p.writes {
		p.writes[i].signs(s.watches(1), func(hash uint64, _ []byte) bool {
			if known, found := s.signs[hash]; found && known.refusals != innocent {
				list = append(list, hash)
			}

			return true
		})
	}

	return list
}

// watches tells of a field whether one of its signs was refused so often.
func (s *Suspects) watches(refusals int) func(field []byte) bool {
	return func(field []byte) bool { return s.watched[string(field)] >= refusals }
}

// among are the documents of a plan that look like refused ones, and the numbers of the changes that do so surely.
func (s *Suspects) among(p *Plan) (suspect map[event.Key]bool, certain []uint64) {
	s.mu.RLock()
	defer s.mu.RUnlock()

	if !s.any {
		return nil, nil
	}

	for i := range p.writes {
		w := &p.writes[i]

		refusals := s.refusals(w)
		if refusals < enough {
			continue
		}

		key, err := event.NewKey(w.ns, w.id)
		if err != nil {
			return nil, nil
		}

		if suspect == nil {
			suspect = map[event.Key]bool{}
		}

		suspect[key] = true

		if refusals >= sure {
			certain = append(certain, w.change.Number)
		}
	}

	return suspect, certain
}

// refusals of the sign of the write that has most.
func (s *Suspects) refusals(w *write) (most int) {
	w.signs(s.watches(enough), func(hash uint64, _ []byte) bool {
		most = max(most, s.signs[hash].refusals)

		return most < sure
	})

	return most
}

// signs visits the signs of a write that are of wanted fields until told to stop: its shape, then its short values.
func (w *write) signs(wanted func(field []byte) bool, visit func(hash uint64, field []byte) (more bool)) {
	if w.document == nil {
		return
	}

	var place xxhash.Digest

	place.Reset()
	_, _ = place.WriteString(w.ns.DB)
	_, _ = place.WriteString("\x00")
	_, _ = place.WriteString(w.ns.Coll)

	if shape := []byte(ofShape); wanted(shape) && !visit(w.shape(place), shape) {
		return
	}

	visitValues(&place, w.document, w.kind == update, wanted, visit)
}

// visitValues visits the wanted fields that have short values; of an update those that its operators name.
func visitValues(place *xxhash.Digest, doc bson.Raw, nested bool, wanted func([]byte) bool, visit func(uint64, []byte) bool) (more bool) {
	return eachField(doc, func(kind bson.Type, name, value []byte) bool {
		switch {
		case kind == bson.TypeEmbeddedDocument && nested:
			return visitValues(place, value, false, wanted, visit)
		case kind == bson.TypeEmbeddedDocument || len(value) > maxSign || string(name) == "_id" || !wanted(name):
			return true
		}

		digest := *place
		_, _ = digest.Write([]byte{0, byte(kind)})
		_, _ = digest.Write(name)
		_, _ = digest.WriteString("\x00")
		_, _ = digest.Write(value)

		return visit(digest.Sum64(), name)
	})
}

// shape is a hash of where a write goes, and of the names and types of its fields, with those of an update's operators.
func (w *write) shape(place xxhash.Digest) uint64 {
	_, _ = place.Write([]byte{1, byte(w.kind)}) //nolint:gosec // one of three
	addFields(&place, w.document, w.kind == update)

	return place.Sum64()
}

func addFields(digest *xxhash.Digest, doc bson.Raw, nested bool) {
	eachField(doc, func(kind bson.Type, name, value []byte) bool {
		_, _ = digest.Write(name)
		_, _ = digest.Write([]byte{0, byte(kind)})

		if kind == bson.TypeEmbeddedDocument && nested {
			addFields(digest, value, false)
		}

		return true
	})
}

// eachField visits the fields of a document until told to stop, as far as it can be read. Unlike bson.Raw.Elements it
// allocates nothing.
func eachField(doc bson.Raw, visit func(kind bson.Type, name, value []byte) (more bool)) (more bool) {
	const header = 4 // the document's length

	if len(doc) < header {
		return true
	}

	for rest := []byte(doc[header:]); ; {
		el, behind, ok := bsoncore.ReadElement(rest)
		if !ok { // the zero byte at the end
			return true
		}

		name, value, _ := bytes.Cut(el[1:], []byte{0})
		if !visit(bson.Type(el[0]), name, value) {
			return false
		}

		rest = behind
	}
}

// Scout sends the writes of suspicious documents ahead of the others, in a command of their own. What one document is
// written in stays in order; other documents do not depend on it, save through a unique index: see NewOrderedPlan.
// Where some are refused for certain it returns the numbers of those changes instead: a plan without them is better.
func (p *Plan) Scout(s *Suspects) (certain []uint64) {
	ahead, certain := s.among(p)
	if len(ahead) == 0 || len(certain) > 0 || len(p.writes) < 2 {
		return certain
	}

	first, rest := make([]write, 0, len(p.writes)), make([]write, 0, len(p.writes))

	for i := range p.writes {
		w := &p.writes[i]

		if key, err := event.NewKey(w.ns, w.id); err == nil && ahead[key] {
			first = append(first, *w)
		} else {
			rest = append(rest, *w)
		}
	}

	p.scouts = len(first)
	p.writes = append(first, rest...)

	return nil
}

// ScoutFirst sends the first write in a command of its own: it has failed before.
func (p *Plan) ScoutFirst() { p.scouts = min(1, len(p.writes)) }

// Scouted tells whether the plan's order is not that of its events.
func (p *Plan) Scouted() bool { return p.scouts > 0 }

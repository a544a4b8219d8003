package apply

import (
	"github.com/cespare/xxhash/v2"
	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/atlas-relay/atlas-relay/pkg/event"
)

// Suspects remembers how the documents looked that the target refused last. A refused write undoes its transaction, so
// the sooner it comes the less is done twice: writes that look like those are sent before the others.
type Suspects struct {
	shapes [16]uint64
	next   int
	any    bool
}

// Remember takes in a change that was refused.
func (s *Suspects) Remember(c *Change) {
	writes, err := writesOf(c)
	if err != nil || len(writes) == 0 {
		return
	}

	shape := writes[0].shape()
	for _, known := range s.shapes {
		if known == shape {
			return
		}
	}

	s.shapes[s.next%len(s.shapes)] = shape
	s.next++
	s.any = true
}

func (s *Suspects) has(w *write) bool {
	shape := w.shape()

	for _, known := range s.shapes {
		if known == shape {
			return true
		}
	}

	return false
}

// shape is a hash of where a write goes, and of the names and types of its fields, with those of an update's operators.
func (w *write) shape() uint64 {
	var digest xxhash.Digest

	digest.Reset()
	_, _ = digest.WriteString(w.ns.DB)
	_, _ = digest.WriteString("\x00")
	_, _ = digest.WriteString(w.ns.Coll)
	_, _ = digest.Write([]byte{0, byte(w.kind)}) //nolint:gosec // one of three
	addFields(&digest, w.document, w.kind == update)

	return digest.Sum64()
}

func addFields(digest *xxhash.Digest, doc bson.Raw, nested bool) {
	if doc == nil {
		return
	}

	elements, err := doc.Elements()
	if err != nil {
		return
	}

	for _, el := range elements {
		value := el.Value()
		_, _ = digest.WriteString(el.Key())
		_, _ = digest.Write([]byte{0, byte(value.Type)})

		if inner, ok := value.DocumentOK(); ok && nested {
			addFields(digest, inner, false)
		}
	}
}

// Scout sends the writes of suspicious documents ahead of the others, in a command of their own. What one document is
// written in stays in order; other documents do not depend on it, save through a unique index: see NewOrderedPlan.
func (p *Plan) Scout(s *Suspects) {
	if !s.any || len(p.writes) < 2 {
		return
	}

	ahead := map[event.Key]bool{}

	for i := range p.writes {
		if w := &p.writes[i]; s.has(w) {
			key, err := event.NewKey(w.ns, w.id)
			if err != nil {
				return
			}

			ahead[key] = true
		}
	}

	if len(ahead) == 0 {
		return
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
}

// ScoutFirst sends the first write in a command of its own: it has failed before.
func (p *Plan) ScoutFirst() { p.scouts = min(1, len(p.writes)) }

// Scouted tells whether the plan's order is not that of its events.
func (p *Plan) Scouted() bool { return p.scouts > 0 }

package verify

import (
	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/atlas-relay/atlas-relay/pkg/event"
)

// Merge runs the merge of two lists of documents in the order of _id and returns the kinds of difference by _id.
func Merge(source, target []bson.Raw) (kinds []Kind, ids []bson.RawValue) {
	for len(source) > 0 || len(target) > 0 {
		var left, right bson.Raw
		if len(source) > 0 {
			left = source[0]
		}

		if len(target) > 0 {
			right = target[0]
		}

		s := merge(left, right)
		if s.kind != "" {
			kinds = append(kinds, s.kind)

			if s.source {
				ids = append(ids, left.Lookup("_id"))
			} else {
				ids = append(ids, right.Lookup("_id"))
			}
		}

		if s.source {
			source = source[1:]
		}

		if s.target {
			target = target[1:]
		}
	}

	return kinds, ids
}

// Prove is what a run proves of its ranges.
func Prove(ranges []*Range) error { return prove(ranges) }

// KeptInDisorder is the state when the first of these ranges, of which ten documents were compared, is out of order.
func KeptInDisorder(bounded bool, ranges ...*Range) *State {
	b := &book{ranges: ranges, met: make(map[event.Key]struct{})}
	_ = b.compared(ranges[0], passage{last: bson.RawValue{Type: bson.TypeNull}, documents: 10, disorder: errUnordered, bounded: bounded})

	return b.keep()
}

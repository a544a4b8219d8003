package verify

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/atlas-relay/atlas-relay/pkg/event"
)

// errEnough ends a verification that has found as many differences as were asked for.
var errEnough = errors.New("enough differences")

// errWithdrawn ends the walk of a range that is no longer one.
var errWithdrawn = errors.New("the range was withdrawn")

// book is what is known so far. Every method may be called from any goroutine.
type book struct {
	most   int // differences, and unsettled suspects, that are kept
	report func(Difference)

	mu        sync.Mutex
	state     State // without ranges and suspects
	ranges    []*Range
	suspects  []*Suspect
	met       map[event.Key]struct{} // suspects, and those of before that were found to be differences or unsettled
	estimated int64
	before    int64     // documents that earlier runs compared
	began     time.Time // this run
}

// compared notes how far a range has come. A server that does not keep to the order of _id may have left out anything
// where it was to leave something out: then all ranges of the collection are withdrawn, and it is read anew by a cursor
// without bounds, which leaves out nothing in any order.
func (b *book) compared(r *Range, p passage) error {
	b.mu.Lock()
	defer b.mu.Unlock()

	if r.withdrawn {
		return errWithdrawn
	}

	r.Last = p.last
	b.count(r, p.documents, p.bytes)

	if p.disorder == nil || r.Unordered {
		return nil
	}

	note := fmt.Sprintf("%s: %s: it is compared in one part", r.Namespace, p.disorder)
	if !slices.Contains(b.state.Notes, note) {
		b.state.Notes = append(b.state.Notes, note)
	}

	if !p.bounded {
		r.Unordered = true

		return nil
	}

	b.withdraw(r.Namespace)

	return errWithdrawn
}

func (b *book) count(r *Range, documents, bytes int64) {
	r.Documents += documents
	r.Bytes += bytes
	b.state.Totals.Documents += documents
	b.state.Totals.Bytes += bytes
}

// withdraw puts one range in the place of all of a collection.
func (b *book) withdraw(ns event.Namespace) {
	b.ranges = slices.DeleteFunc(b.ranges, func(r *Range) bool {
		if r.Namespace != ns {
			return false
		}

		r.withdrawn = true
		b.count(r, -r.Documents, -r.Bytes)

		return true
	})

	b.ranges = append(b.ranges, &Range{Namespace: ns})
	b.before = min(b.before, b.state.Totals.Documents)
}

// open are the ranges that are not done.
func (b *book) open() []*Range {
	b.mu.Lock()
	defer b.mu.Unlock()

	return slices.DeleteFunc(slices.Clone(b.ranges), func(r *Range) bool { return r.Done })
}

func (b *book) finished(r *Range) {
	b.mu.Lock()
	defer b.mu.Unlock()

	r.Done = true
}

// suspected notes a suspect until it is known what it is. It is false for one that is noted, or reported, already: a
// range that was interrupted or withdrawn meets it again.
func (b *book) suspected(s *Suspect) bool {
	b.mu.Lock()
	defer b.mu.Unlock()

	if _, again := b.met[s.Key]; again {
		return false
	}

	b.met[s.Key] = struct{}{}
	b.suspects = append(b.suspects, s)
	b.state.Totals.Suspects++

	return true
}

func (b *book) cleared(s *Suspect) {
	b.mu.Lock()
	defer b.mu.Unlock()

	b.forget(s)
	delete(b.met, s.Key)
}

func (b *book) forget(s *Suspect) {
	b.suspects = slices.DeleteFunc(b.suspects, func(other *Suspect) bool { return other == s })
}

// found notes and reports what a suspect is. It returns errEnough when no more is kept.
func (b *book) found(s *Suspect, d Difference) error {
	d.Namespace, d.ID = s.Namespace.String(), json.RawMessage(s.ID.String())

	b.mu.Lock()
	defer b.mu.Unlock()

	b.forget(s)

	totals := &b.state.Totals

	switch d.Cause {
	case Unknown:
		totals.NotSettled++
	case Parked, DeadLetter:
		totals.Differences++
		totals.Explained++
	case Unexplained:
		totals.Differences++
	}

	b.state.Differences = append(b.state.Differences, d)
	b.report(d)

	if len(b.state.Differences) >= b.most {
		return errEnough
	}

	return nil
}

// define notes what the comparison of definitions came to.
func (b *book) define(d definitions) {
	b.mu.Lock()
	defer b.mu.Unlock()

	b.state.Defined, b.state.Catalog = true, d.found
	b.state.Notes = append(b.state.Notes, d.notes...)
}

// snapshot is for people who wait.
func (b *book) snapshot() Snapshot {
	b.mu.Lock()
	defer b.mu.Unlock()

	s := Snapshot{
		Began:  b.began,
		Totals: b.state.Totals, Estimated: b.estimated, Waiting: len(b.suspects), Before: b.before, Ranges: len(b.ranges),
	}

	for _, r := range b.ranges {
		if r.Done {
			s.Done++
		}
	}

	return s
}

// keep is what the verification can be gone on from.
func (b *book) keep() *State {
	b.mu.Lock()
	defer b.mu.Unlock()

	s := b.state
	s.Version = stateVersion
	s.Differences = slices.Clone(s.Differences)
	s.Notes = slices.Clone(s.Notes)
	s.Ranges, s.Suspects, s.Met = nil, nil, nil

	for _, r := range b.ranges {
		kept := keepRange(r)
		if r.Unordered && !r.Done { // there is no last one to go on behind
			s.Totals.Documents -= r.Documents
			s.Totals.Bytes -= r.Bytes
			kept.Last, kept.Documents, kept.Bytes = nil, 0, 0
		}

		s.Ranges = append(s.Ranges, kept)
	}

	for key := range b.met {
		s.Met = append(s.Met, []byte(key))
	}

	for _, suspect := range b.suspects {
		s.Suspects = append(s.Suspects, suspectState{DB: suspect.Namespace.DB, Coll: suspect.Namespace.Coll, ID: wrap(suspect.ID)})
	}

	return &s
}

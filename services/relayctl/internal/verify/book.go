package verify

import (
	"encoding/json"
	"errors"
	"slices"
	"sync"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"
)

// errEnough ends a verification that has found as many differences as were asked for.
var errEnough = errors.New("enough differences")

// book is what is known so far. Every method may be called from any goroutine.
type book struct {
	most   int // differences, and unsettled suspects, that are kept
	report func(Difference)

	mu        sync.Mutex
	state     State // without ranges and suspects
	ranges    []*Range
	suspects  []*Suspect
	estimated int64
	before    int64     // documents that earlier runs compared
	began     time.Time // this run
}

// compared notes how far a range has come.
func (b *book) compared(r *Range, last bson.RawValue, documents, bytes int64) {
	b.mu.Lock()
	defer b.mu.Unlock()

	r.Last = last
	b.state.Totals.Documents += documents
	b.state.Totals.Bytes += bytes
}

func (b *book) finished(r *Range) {
	b.mu.Lock()
	defer b.mu.Unlock()

	r.Done = true
}

// suspected notes a suspect until it is known what it is. It is false for one that is noted already: a range that was
// interrupted meets it again.
func (b *book) suspected(s *Suspect) bool {
	b.mu.Lock()
	defer b.mu.Unlock()

	for _, other := range b.suspects {
		if other.Namespace == s.Namespace && other.ID.Equal(s.ID) {
			return false
		}
	}

	b.suspects = append(b.suspects, s)
	b.state.Totals.Suspects++

	return true
}

func (b *book) cleared(s *Suspect) {
	b.mu.Lock()
	defer b.mu.Unlock()

	b.forget(s)
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
	s.Ranges, s.Suspects = nil, nil

	for _, r := range b.ranges {
		s.Ranges = append(s.Ranges, keepRange(r))
	}

	for _, suspect := range b.suspects {
		s.Suspects = append(s.Suspects, suspectState{DB: suspect.Namespace.DB, Coll: suspect.Namespace.Coll, ID: wrap(suspect.ID)})
	}

	return &s
}

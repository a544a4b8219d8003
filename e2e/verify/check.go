// Package verify judges the record of a run of the relay: whether what the relay promises held all the time, by what
// clients, source, stream and target themselves showed. It reads the files of e2e/history and nothing else. It shares no
// code with the services, so that a mistake of theirs is not its own.
//
//	I1   every write that the source acknowledged is on the target, or in exactly one dead letter, or behind a recorded gap
//	I2   the target at the end is the source byte for byte, order and types of fields included; where schema changes are
//	     replicated, collections, views and indexes have the same definitions
//	I3   the version of a document on the target only grows: no write comes twice, none after a later one
//	I4   what a transaction of the source wrote in one partition is committed at once (counted; judged where asked for)
//	I5   the stream has each event once, in order, with numbers that have no gap; each message names the one before it; what
//	     comes again comes in the same partition
//	I6   a partition is committed to by one owner at a time, never by one of a lower epoch behind one of a higher
//	I7   at each commit of the target its documents are what its checkpoint says: no change is passed over, none is early
//	I8   total = processed + failed + skipped + pending in each consistent sample; no counter goes back
//	I9   only documents that the target is meant to refuse become dead letters; what waits behind one stays in order
//	I10  the state is not OK while one of I1 to I5 is broken for more than 10 s
//	I11  no log holds a secret; memory, goroutines and files are given back
//	I12  after the last fault the state is OK again, within a limit that the caller may give, or it says what to do
//
// A run may also show nothing: each fault has to hit, while enough is written (vacuity).
//
// How documents are judged that a write's version alone does not explain:
//
//	refetched        the image of the source may be newer than the stream: its version may be met again, by the events
//	                 that it holds already, but nothing older than what the stream brought before
//	deleted          the target's event has no version: it is that of the last deletion that its commit covers
//	superseded       of the events of one commit a full image or a deletion replaces those before it
//	parked           a document that ever had a record in atlas_relay.parked: each event is applied, or in a record, or
//	                 covered by what was applied after it; nothing is applied before what waits
//	dropped, renamed documents of such a collection are compared at the end only; so are those of a capped one
//	two-way          writes of the target's own clients come without a checkpoint and are left alone
//	rewound          events come again in another generation of the stream: they are known by their position
package verify

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/atlas-relay/atlas-relay/e2e/history"
)

// Limits are what a caller asks of a run beyond the invariants.
type Limits struct {
	// FaultChanges is how many changes have to be written during each fault.
	FaultChanges int
	// Recovery is how long after the last fault the state has to be OK; 0 only measures it. A busy machine is slow for
	// reasons of its own: give what it can do.
	Recovery time.Duration
	// WholeTransactions makes a finding of what breaks I4. Without it such transactions are only counted: the relay does
	// not promise that a transaction of the source stays one on the target.
	WholeTransactions bool
}

// DefaultLimits are those of the command.
func DefaultLimits() Limits { return Limits{FaultChanges: 100} }

// Check judges the record in a folder. An error says that it cannot be judged: a file is missing or damaged.
func Check(folder string, limits Limits) (*Report, error) {
	meta, err := history.ReadMeta(folder)
	if err != nil {
		return nil, err
	}

	if meta.Flow == "" || meta.Partitions < 1 {
		return nil, fmt.Errorf("%w: %s names no flow, or no number of partitions", history.ErrDamaged, history.MetaFile)
	}

	m := newModel(folder, meta, limits)

	for _, step := range []func() error{
		m.readFaults, m.readGaps, m.readWrites, m.readSource, m.readStream, m.readCommits, m.readLetters,
		func() error { m.judgeLoss(); return nil },
		m.judgeDocuments, m.judgeDefinitions, m.judgeSamples, m.judgeLogs, m.judgeUsage, m.judgeVacuity,
	} {
		if err := step(); err != nil {
			return nil, err
		}
	}

	m.tellExempt()
	slices.SortStableFunc(m.report.Findings, func(a, b Finding) int { return cmp.Compare(a.Invariant.rank(), b.Invariant.rank()) })

	return &m.report, nil
}

// readCommits reads what was committed to the target. One that was restored from a backup has several histories, and no
// record tells what it was at the beginning of the later ones: it is judged by its end, the stream and the samples.
func (m *model) readCommits() error {
	if !m.meta.TargetBack {
		return m.readTarget()
	}

	m.report.NotJudged = append(m.report.NotJudged, "the order and number of writes, and what each commit covers: the target was restored from a backup")

	return nil
}

func (m *model) tellExempt() {
	r := &m.report

	for _, ns := range slices.Sorted(maps.Keys(m.exempt)) {
		if m.meta.Includes(ns) {
			r.NotJudged = append(r.NotJudged, fmt.Sprintf("the versions of documents in %s: %s", ns, m.exempt[ns]))
		}
	}

	if m.meta.AtLeastOnce {
		r.NotJudged = append(r.NotJudged, "the order and number of writes: the target has no transactions")
	}
}

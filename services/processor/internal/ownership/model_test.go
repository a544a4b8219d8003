package ownership

import (
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/atlas-relay/atlas-relay/pkg/lease"
)

// Of the model: a bucket, a target with guarded checkpoints, and processors that
// are driven by their tables one step of I/O at a time.
const (
	modelTTL        = 5 * time.Second
	modelPartitions = 3
)

type modelKey struct {
	holder   string
	revision int
	expires  time.Time // zero: written by hand, never
}

type modelCheckpoint struct {
	epoch   int
	owner   string
	commits int
}

// modelCommit is a transaction that went through.
type modelCommit struct {
	epoch int
	owner string
}

type model struct {
	now         time.Time
	revision    int
	members     map[string]modelKey
	leases      map[int]modelKey
	checkpoints [modelPartitions]modelCheckpoint
	log         [modelPartitions][]modelCommit
	processes   []*modelProcess
	serial      int
	fenced      int  // transactions that came too late
	edited      bool // leases were changed by hand: two may believe in theirs
}

type modelProcess struct {
	*model

	id      string
	table   *table
	frozen  bool
	cut     bool     // from the bucket
	news    []func() // of the bucket, on the way
	holds   map[int]*modelHold
	own     int       // revision of the announcement; 0: none
	ownEnd  time.Time // by its own count
	stopped bool
}

// modelHold is work on a partition, at one step.
type modelHold struct {
	drain    bool
	revision int       // of the lease; 0: not acquired yet
	end      time.Time // of the lease, by the holder's count
	read     *modelCheckpoint
	epoch    int              // acquired; 0: not yet
	flying   *modelCheckpoint // guard of the transaction that was sent
}

func newModel() *model {
	return &model{now: time.Unix(1, 0), members: map[string]modelKey{}, leases: map[int]modelKey{}}
}

// join starts a processor.
func (m *model) join() {
	m.serial++

	p := &modelProcess{model: m, id: fmt.Sprintf("p%d", m.serial), holds: map[int]*modelHold{}}
	p.table = newTable(p.id, modelPartitions, modelTTL)
	m.processes = append(m.processes, p)
	p.connect()
}

// connect announces and reads the bucket.
func (p *modelProcess) connect() {
	p.cut, p.news = false, nil
	p.announce()

	members, holders := map[string]time.Duration{}, map[int]string{}
	for id := range p.members {
		members[id] = modelTTL
	}

	for n, k := range p.leases {
		holders[n] = k.holder
	}

	p.table.sight(p.now, members, holders)
}

func (p *modelProcess) announce() {
	p.revision++
	p.own, p.ownEnd = p.revision, p.now.Add(modelTTL-lease.Margin(modelTTL))
	p.members[p.id] = modelKey{holder: p.id, revision: p.revision, expires: p.now.Add(modelTTL)}
	p.tell(func(q *modelProcess) { q.table.join(q.now, p.id, modelTTL) })
}

// tell puts news on the way to everybody who watches.
func (m *model) tell(news func(*modelProcess)) {
	for _, q := range m.processes {
		if !q.cut {
			q.news = append(q.news, func() { news(q) })
		}
	}
}

func (m *model) setLease(n int, holder string, expires time.Time) int {
	m.revision++

	if holder == "" {
		delete(m.leases, n)
	} else {
		m.leases[n] = modelKey{holder: holder, revision: m.revision, expires: expires}
	}

	m.tell(func(q *modelProcess) { q.table.hold(q.now, n, holder) })

	return m.revision
}

// advance lets time pass and keys expire.
func (m *model) advance(d time.Duration) {
	m.now = m.now.Add(d)

	for _, id := range slices.Sorted(maps.Keys(m.members)) {
		if !m.now.Before(m.members[id].expires) {
			delete(m.members, id)
			m.tell(func(q *modelProcess) { q.table.leave(id) })
		}
	}

	for n := range modelPartitions {
		if k, held := m.leases[n]; held && !k.expires.IsZero() && !m.now.Before(k.expires) {
			m.setLease(n, "", time.Time{})
		}
	}
}

// decide does what the table wants, as sharing does.
func (p *modelProcess) decide() {
	for _, a := range p.table.decide(p.now) {
		if a.drain {
			p.holds[a.partition].drain = true
		} else {
			p.holds[a.partition] = &modelHold{}
		}
	}
}

// step does the next piece of I/O of a hold. A process that runs sees the end of
// its lease first.
func (p *modelProcess) step(t require.TestingT, n int) {
	h := p.holds[n]

	switch {
	case h == nil:
	case h.revision == 0:
		p.acquireLease(n, h)
	case !p.now.Before(h.end):
		p.finish(n, h, true)
	case h.flying != nil:
		p.land(t, n, h)
	case h.drain:
		p.finish(n, h, false)
	case h.read == nil:
		read := p.checkpoints[n]
		h.read = &read
	case h.epoch == 0:
		p.raise(n, h)
	default:
		guard := p.checkpoints[n]
		if guard.owner == p.id && guard.epoch == h.epoch {
			h.flying = &guard
		} else {
			p.finish(n, h, true) // stale
		}
	}
}

func (p *modelProcess) acquireLease(n int, h *modelHold) {
	k, held := p.leases[n]
	free := !held || k.expires.IsZero() || k.holder == p.id

	if p.cut || !free {
		delete(p.holds, n)
		p.table.refused(p.now, n, !p.cut)

		return
	}

	h.end = p.now.Add(modelTTL - lease.Margin(modelTTL))
	h.revision = p.setLease(n, p.id, p.now.Add(modelTTL))
	p.table.took(p.now, n)
}

func (p *modelProcess) raise(n int, h *modelHold) {
	if p.checkpoints[n] != *h.read {
		h.read = nil // lost the race: read again

		return
	}

	h.epoch = max(h.read.epoch, h.revision) + 1
	p.checkpoints[n] = modelCheckpoint{epoch: h.epoch, owner: p.id, commits: h.read.commits}
}

// land is the arrival of a transaction at the target, whoever its sender is by
// now.
func (p *modelProcess) land(t require.TestingT, n int, h *modelHold) {
	guard := h.flying
	h.flying = nil

	if p.checkpoints[n] != *guard {
		p.fenced++

		return
	}

	p.checkpoints[n].commits++
	p.log[n] = append(p.log[n], modelCommit{epoch: guard.epoch, owner: guard.owner})

	if len(p.log[n]) > 1 {
		before, last := p.log[n][len(p.log[n])-2], p.log[n][len(p.log[n])-1]
		require.True(t, last.epoch > before.epoch || last == before, "epoch %v after %v", last, before)
	}

	require.Len(t, p.log[n], p.checkpoints[n].commits)
}

func (p *modelProcess) finish(n int, h *modelHold, failed bool) {
	if k := p.leases[n]; !p.cut && p.now.Before(h.end) && k.revision == h.revision {
		p.setLease(n, "", time.Time{})
	}

	delete(p.holds, n)
	p.table.ended(p.now, n, failed)
}

// renew renews everything that is still held.
func (p *modelProcess) renew() {
	if p.cut {
		return
	}

	if !p.stopped {
		if k := p.members[p.id]; !p.now.Before(p.ownEnd) || k.revision != p.own {
			p.connect() // lost: announced again
		} else {
			p.announce()
		}
	}

	for _, n := range slices.Sorted(maps.Keys(p.holds)) {
		h := p.holds[n]
		if h.revision == 0 || !p.now.Before(h.end) {
			continue
		}

		if p.leases[n].revision != h.revision {
			h.end = p.now // lost

			continue
		}

		h.end = p.now.Add(modelTTL - lease.Margin(modelTTL))
		h.revision = p.setLease(n, p.id, p.now.Add(modelTTL))
	}
}

// stop is a clean stop: the announcement goes first.
func (p *modelProcess) stop() {
	p.stopped = true
	p.table.stop()

	if !p.cut && p.members[p.id].revision == p.own {
		delete(p.members, p.id)
		p.tell(func(q *modelProcess) { q.table.leave(p.id) })
	}
}

// hear takes in the oldest news.
func (p *modelProcess) hear() {
	if len(p.news) > 0 {
		p.news[0]()
		p.news = p.news[1:]
	}
}

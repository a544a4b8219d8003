package ownership

import (
	"slices"
	"time"
)

// Waits of the table.
const (
	// settling is what members get to announce themselves after this one has seen
	// the bucket: after an outage all come at once, and whoever comes first must
	// not take everything.
	settling = 300 * time.Millisecond
	// confirming is the pause before a key is tried again that looks free here and
	// was refused: news is under way.
	confirming = 50 * time.Millisecond
	// Pauses after an ownership that ended by itself.
	firstRest = 100 * time.Millisecond
	maxRest   = 2 * time.Second
	// moving bounds the partitions that are given to others at a time, so that each
	// is paused for a short while only; whoever does not take one within
	// moveTimeout is not waited for.
	moving      = 2
	moveTimeout = time.Second
	// lasting is how long an ownership must have lasted to be no failure.
	lasting = 10 * time.Second
)

// silentFor is how many TTLs a member may go without a renewal. The server lets
// its key expire after one; a key that was written by hand does not expire.
const silentFor = 2

// stage is what this processor does with a partition.
//
//	idle ──take──▶ taking ──took──▶ owning ──drain──▶ draining
//	  ▲              │ refused        │ ended            │ ended
//	  └──────────────┴────────────────┴──────────────────┘
type stage int

const (
	idle stage = iota
	taking
	owning
	draining
)

// action is what the table wants to be done.
type action struct {
	partition int
	drain     bool // else: take
}

// table is who takes part and who holds what, as this processor sees it, and what
// it does about that. It does no I/O and looks at no clock. What it sees may be
// late or wrong: leases and, behind them, the checkpoints decide who works.
type table struct {
	self     string
	ttl      time.Duration
	members  map[string]member
	slots    []slot
	sighted  time.Time // since when members and holders are known; zero: they are not
	stopping bool

	// The last answer of wanted and the members it was for.
	owners    []string
	ownersFor []string
}

// member is a processor that takes part.
type member struct {
	ttl     time.Duration // of its key
	renewed time.Time     // when that was last seen renewed
}

// slot is one partition.
type slot struct {
	stage    stage
	holder   string    // of the lease, as the bucket says; empty: nobody
	since    time.Time // of the ownership
	wait     time.Time // not to be taken earlier
	given    time.Time // when it was drained for another member that has not taken it yet
	failures int       // ownerships in a row that ended by themselves, soon
}

func newTable(self string, partitions int, ttl time.Duration) *table {
	return &table{self: self, ttl: ttl, slots: make([]slot, partitions)}
}

// sight takes in the whole bucket: the members with their TTLs, and who holds
// which partition.
func (t *table) sight(now time.Time, members map[string]time.Duration, holders map[int]string) {
	t.sighted = now
	t.members = make(map[string]member, len(members))

	for id, ttl := range members {
		t.members[id] = member{ttl: ttl, renewed: now}
	}

	for p := range t.slots {
		t.slots[p].holder, t.slots[p].wait = holders[p], now
	}
}

// blind says that the bucket cannot be seen: nothing is begun or given away.
func (t *table) blind() { t.sighted = time.Time{} }

// join takes in that a member has announced or renewed itself.
func (t *table) join(now time.Time, id string, ttl time.Duration) {
	if t.members != nil {
		t.members[id] = member{ttl: ttl, renewed: now}
	}
}

// leave takes in that a member is gone.
func (t *table) leave(id string) { delete(t.members, id) }

// hold takes in who holds the lease of a partition now; nobody for "".
func (t *table) hold(now time.Time, partition int, holder string) {
	if partition >= len(t.slots) {
		return
	}

	s := &t.slots[partition]
	s.holder = holder

	switch {
	case holder == "" && s.failures == 0:
		s.wait = now
	case holder != "" && holder != t.self:
		s.given = time.Time{}
	}
}

// took says that the lease of a partition was acquired.
func (t *table) took(now time.Time, partition int) {
	s := &t.slots[partition]
	s.since, s.holder = now, t.self

	if s.stage == taking {
		s.stage = owning
	}
}

// refused says that the lease could not be acquired; held: another has it.
func (t *table) refused(now time.Time, partition int, held bool) {
	s := &t.slots[partition]
	s.stage = idle

	switch {
	case !held:
		s.rest(now)
	case s.holder == "" || s.holder == t.self:
		s.wait = now.Add(confirming)
	default:
		// It is heard when the key becomes free; this is for keys that never do.
		s.wait = now.Add(t.ttl / 2)
	}
}

// ended says that work on a partition is over and its lease given back or lost;
// failed: by itself, not because it was to be drained.
func (t *table) ended(now time.Time, partition int, failed bool) {
	s := &t.slots[partition]
	s.stage = idle

	if s.holder == t.self {
		s.holder = ""
	}

	if now.Sub(s.since) >= lasting {
		s.failures = 0
	}

	if failed {
		s.rest(now)
	} else {
		s.failures, s.wait = 0, now
	}
}

// rest puts the next try off, for longer each time.
func (s *slot) rest(now time.Time) {
	s.wait = now.Add(min(firstRest<<min(s.failures, 10), maxRest))
	s.failures++
}

// stop says that this processor leaves: it takes nothing and drains all.
func (t *table) stop() { t.stopping = true }

// done tells that a processor that leaves has given everything back.
func (t *table) done() bool {
	return t.stopping && !slices.ContainsFunc(t.slots, func(s slot) bool { return s.stage != idle })
}

// alive returns the members that may own partitions. This processor is one of
// them whatever the bucket says: its announcement may be under way.
func (t *table) alive(now time.Time) []string {
	var alive []string

	for id, m := range t.members {
		if id != t.self && now.Before(m.silent()) {
			alive = append(alive, id)
		}
	}

	if !t.stopping {
		alive = append(alive, t.self)
	}

	slices.Sort(alive)

	return alive
}

func (m member) silent() time.Time { return m.renewed.Add(silentFor * m.ttl) }

// wants tells which partitions this processor should own.
func (t *table) wants(now time.Time) []bool {
	mine := make([]bool, len(t.slots))
	if t.stopping {
		return mine
	}

	alive := t.alive(now)
	if !slices.Equal(alive, t.ownersFor) {
		t.owners, t.ownersFor = wanted(len(t.slots), alive), alive
	}

	for p, owner := range t.owners {
		mine[p] = owner == t.self
	}

	return mine
}

// decide returns what is to be done now. The caller does it and says how it went.
func (t *table) decide(now time.Time) []action {
	if t.sighted.IsZero() && !t.stopping {
		return nil
	}

	var actions []action

	settled := !now.Before(t.sighted.Add(settling))
	given := t.givenAway(now)

	for p, mine := range t.wants(now) {
		switch s := &t.slots[p]; s.stage {
		case idle:
			if mine && settled && !now.Before(s.wait) {
				s.stage = taking
				actions = append(actions, action{partition: p})
			}
		case taking, owning:
			if !mine && (given < moving || t.stopping) {
				given++

				s.stage, s.given = draining, now
				actions = append(actions, action{partition: p, drain: true})
			}
		case draining:
		}
	}

	return actions
}

// givenAway counts the partitions that were drained for others and that nobody
// has taken yet.
func (t *table) givenAway(now time.Time) int {
	n := 0

	for i := range t.slots {
		if now.Before(t.slots[i].given.Add(moveTimeout)) {
			n++
		}
	}

	return n
}

// idleWake is how often a table looks that waits for nothing.
const idleWake = time.Minute

// next returns after how long decide may want something new although nothing was
// heard.
func (t *table) next(now time.Time) time.Duration {
	if t.sighted.IsZero() {
		return idleWake
	}

	wake := now.Add(idleWake)
	earlier := func(at time.Time) {
		if at.After(now) && at.Before(wake) {
			wake = at
		}
	}

	earlier(t.sighted.Add(settling))

	for _, m := range t.members {
		earlier(m.silent())
	}

	for p, mine := range t.wants(now) {
		earlier(t.slots[p].given.Add(moveTimeout))

		if mine && t.slots[p].stage == idle {
			earlier(t.slots[p].wait)
		}
	}

	return wake.Sub(now)
}

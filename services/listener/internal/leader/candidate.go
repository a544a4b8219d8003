package leader

import "time"

// aside is how long a leader that cannot read the source leaves the lease to
// others: they look every poll.
const aside = 4 * poll

// Candidate is what one listener knows about leading. It does no I/O and looks at
// no clock; times are those of the listener's monotonic clock. The zero value with
// a TTL may ask for the lease at once.
type Candidate struct {
	TTL time.Duration // of the lease

	leading  bool
	notUntil time.Time // it does not ask for the lease before
	troubled time.Time // since when the source cannot be read; zero: it can
}

// Leading tells whether it has the lease, as far as it knows.
func (c *Candidate) Leading() bool { return c.leading }

// Asks tells whether it should ask for the lease now.
func (c *Candidate) Asks(now time.Time) bool {
	return !c.leading && !now.Before(c.notUntil)
}

// Granted begins a term.
func (c *Candidate) Granted() { c.leading = true }

// Ended ends a term whose lease expired or was taken away. Nothing is wrong with
// this listener: it asks again at once.
func (c *Candidate) Ended() { c.leading, c.troubled = false, time.Time{} }

// StandBack ends a term that another listener should have: because it has taken
// the stream's tail, or because of something here that only an operator settles.
// Where two both believe to lead, one of them has to stand back, whichever has the
// lease, or they would chase each other off the tail; the one that sees it does,
// for as long as the other may need to notice that it has no lease and get it.
func (c *Candidate) StandBack(now time.Time) {
	c.Ended()
	c.notUntil = now.Add(c.TTL)
}

// Starved takes in that the source could not be read, after it could for a while
// (0: not at all). It tells whether to give the lease up: after a TTL of that,
// because another listener may reach the source; and only for a moment, because
// perhaps there is none, or the source is away for all.
func (c *Candidate) Starved(now time.Time, worked time.Duration) (giveUp bool) {
	if c.troubled.IsZero() || worked >= c.TTL {
		c.troubled = now
	}

	if !c.leading || now.Sub(c.troubled) < c.TTL {
		return false
	}

	c.Ended()
	c.notUntil = now.Add(aside)

	return true
}

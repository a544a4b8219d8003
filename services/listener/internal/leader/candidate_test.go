package leader_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/atlas-relay/atlas-relay/services/listener/internal/leader"
)

const (
	ttl  = 5 * time.Second
	step = 200 * time.Millisecond // of the simulated clock: a standby looks so often
)

func TestCandidateWithoutTrouble(t *testing.T) {
	t.Parallel()

	now := time.Unix(0, 0)
	c := leader.Candidate{TTL: ttl}
	require.True(t, c.Asks(now))
	require.False(t, c.Leading())

	c.Granted()
	require.True(t, c.Leading())
	require.False(t, c.Asks(now))

	c.Ended()
	require.True(t, c.Asks(now), "an expired lease is no reason to wait")
}

func TestBeatenCandidateStandsBackForATTL(t *testing.T) {
	t.Parallel()

	now := time.Unix(0, 0)
	c := leader.Candidate{TTL: ttl}
	c.Granted()
	c.StandBack(now)
	require.False(t, c.Leading())
	require.False(t, c.Asks(now.Add(ttl-1)))
	require.True(t, c.Asks(now.Add(ttl)))
}

func TestStarvedLeaderMakesRoomAfterATTL(t *testing.T) {
	t.Parallel()

	now := time.Unix(0, 0)
	c := leader.Candidate{TTL: ttl}
	c.Granted()

	require.False(t, c.Starved(now, time.Hour), "the first failure of a session that worked")
	require.False(t, c.Starved(now.Add(ttl-1), 0))
	require.True(t, c.Starved(now.Add(ttl), time.Second), "a session that ends at once again does not count as work")
	require.False(t, c.Leading())
	require.False(t, c.Asks(now.Add(ttl)))
	require.True(t, c.Asks(now.Add(ttl+time.Second)), "nobody else may be there")

	c.Granted()
	require.False(t, c.Starved(now.Add(ttl+time.Second), 0), "a new term has a TTL of its own")

	// A session that worked for a TTL begins anew too.
	require.False(t, c.Starved(now.Add(3*ttl), ttl))
	require.False(t, c.Starved(now.Add(4*ttl-1), 0))
	require.True(t, c.Starved(now.Add(4*ttl), 0))
}

// bucket is the lease as the server keeps it, and the stream's tail.
type bucket struct {
	holder  *listener
	expires time.Time
	tail    int
	writer  *listener
}

// listener is a simulated one: its candidate and what the driver knows.
type listener struct {
	leader.Candidate

	frozen, blind, starving bool // suspended; cannot reach the bucket; cannot read the source

	ends    time.Time // of its lease, by its own clock
	seen    int       // the tail that it publishes behind
	behind  *listener // who wrote that
	stood   []time.Time
	granted int
}

// look is one turn of a listener at a time, in the order of the driver.
func (l *listener) look(b *bucket, now time.Time) {
	if l.frozen {
		return
	}

	if l.Leading() && !now.Before(l.ends) {
		l.Ended()
	}

	free := b.holder == nil || !now.Before(b.expires)

	switch {
	case l.blind:
	case !l.Leading() && !l.starving && l.Asks(now) && (free || b.holder == l):
		b.holder, b.expires, l.ends = l, now.Add(ttl), now.Add(ttl-ttl/10)
		l.seen, l.behind = b.tail, b.writer
		l.granted++
		l.Granted()
	case l.Leading() && (free || b.holder != l):
		l.Ended()
	case l.Leading():
		b.expires, l.ends = now.Add(ttl), now.Add(ttl-ttl/10)
	}

	if l.Leading() {
		l.publish(b, now)
	}
}

func (l *listener) publish(b *bucket, now time.Time) {
	switch {
	case l.starving:
		if l.Starved(now, 0) {
			l.release(b)
		}
	case l.seen == b.tail: // the chain lets it pass
		b.tail++
		b.writer, l.seen, l.behind = l, b.tail, l
	case b.writer != l && b.writer != l.behind:
		l.StandBack(now)
		l.stood = append(l.stood, now)
		l.release(b)
	default:
		l.seen = b.tail
	}
}

func (l *listener) release(b *bucket) {
	if b.holder == l && !l.blind {
		b.holder = nil
	}
}

// TestAnyFaultsEndWithOneLeader disturbs listeners at random. While it lasts none is
// chased off the tail more than once a TTL; when it is over, one leads soon, and
// goes on leading.
func TestAnyFaultsEndWithOneLeader(t *testing.T) {
	t.Parallel()

	rapid.Check(t, func(rt *rapid.T) {
		now := time.Unix(0, 0)
		b := &bucket{}

		all := make([]*listener, rapid.IntRange(1, 4).Draw(rt, "listeners"))
		for i := range all {
			all[i] = &listener{Candidate: leader.Candidate{TTL: ttl}}
		}

		turn := func() {
			first := rapid.IntRange(0, len(all)-1).Draw(rt, "first")
			for i := range all {
				all[(first+i)%len(all)].look(b, now)
			}

			now = now.Add(step)
		}

		for range rapid.IntRange(0, 200).Draw(rt, "steps") {
			l := all[rapid.IntRange(0, len(all)-1).Draw(rt, "victim")]

			switch rapid.IntRange(0, 9).Draw(rt, "fault") {
			case 0:
				l.frozen = !l.frozen
			case 1:
				l.blind = !l.blind
			case 2:
				l.starving = !l.starving
			case 3:
				b.holder = nil // somebody deleted the key
			case 4: // killed, and started again by somebody
				*l = listener{Candidate: leader.Candidate{TTL: ttl}}
			}

			turn()
		}

		for _, l := range all {
			l.frozen, l.blind, l.starving = false, false, false
			requireApart(rt, l.stood)
		}

		// A lease that lasts, and a TTL of standing back.
		for range 2*ttl/step + 10 {
			turn()
		}

		settled := b.tail
		active := requireOneLeader(rt, all)

		for range 5 * ttl / step {
			turn()
			require.Same(rt, active, requireOneLeader(rt, all))
		}

		require.GreaterOrEqual(rt, b.tail, settled+int(5*ttl/step)-1, "it publishes")
	})
}

func requireApart(rt *rapid.T, times []time.Time) {
	for i := 1; i < len(times); i++ {
		require.GreaterOrEqual(rt, times[i].Sub(times[i-1]), ttl)
	}
}

func requireOneLeader(rt *rapid.T, all []*listener) *listener {
	var active *listener

	for _, l := range all {
		if l.Leading() {
			require.Nil(rt, active, "two lead")
			active = l
		}
	}

	require.NotNil(rt, active, "nobody leads")

	return active
}

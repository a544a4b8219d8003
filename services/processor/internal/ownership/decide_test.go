package ownership

import (
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

func pick(t *rapid.T, from []*modelProcess) *modelProcess {
	if len(from) == 0 {
		return nil
	}

	return from[rapid.IntRange(0, len(from)-1).Draw(t, "process")]
}

// TestOneEpochCommits runs random schedules: joins, stops, crashes, freezes,
// losses of the bucket, keys changed by hand, late news and late transactions.
func TestOneEpochCommits(t *testing.T) {
	t.Parallel()

	fenced := 0
	defer func() { t.Logf("%d transactions were fenced", fenced) }()

	rapid.Check(t, func(t *rapid.T) {
		m := newModel()
		m.join()
		m.join()

		defer func() { fenced += m.fenced }()

		work := func(t *rapid.T) {
			for range rapid.IntRange(1, 30).Draw(t, "steps") {
				p := pick(t, m.running())
				if p == nil {
					return
				}

				for range rapid.IntRange(0, 40).Draw(t, "news") {
					p.hear()
				}

				p.decide()

				for n := range modelPartitions {
					if rapid.IntRange(0, 3).Draw(t, "does") > 0 {
						p.step(t, n)
					}
				}

				if rapid.Bool().Draw(t, "renews") {
					p.renew()
				}

				m.advance(time.Duration(rapid.IntRange(0, 300).Draw(t, "ms")) * time.Millisecond)
			}
		}

		t.Repeat(map[string]func(*rapid.T){
			"work": work, "work on": work, "work still": work,
			"heal": func(*rapid.T) { m.heal() },
			"join": func(*rapid.T) {
				if len(m.processes) < 5 {
					m.join()
				}
			},
			"long": func(*rapid.T) { m.advance(modelTTL) },
			"trouble": func(t *rapid.T) {
				if p := pick(t, m.processes); p != nil {
					p.trouble(t)
				}
			},
			"late transactions": func(t *rapid.T) { m.landLate(t) },
			"": func(t *rapid.T) {
				m.leave()
				m.requireOneBelieves(t)
			},
		})

		m.calmDown(t)
		m.requireSettled(t)
	})
}

// trouble is what may happen to a processor, or to the keys.
func (p *modelProcess) trouble(t *rapid.T) {
	switch rapid.IntRange(0, 9).Draw(t, "trouble") {
	case 0:
		p.stop()
	case 1:
		p.processes = slices.DeleteFunc(p.processes, func(q *modelProcess) bool { return q == p }) // killed
	case 2, 3:
		p.cut, p.news = true, nil
		p.table.blind()
	case 4:
		p.edited = true
		p.setLease(rapid.IntRange(0, modelPartitions-1).Draw(t, "partition"), "?", time.Time{})
	case 5:
		p.loseBucket()
	default:
		p.freeze(t)
	}
}

// freeze stops a processor amid its transactions.
func (p *modelProcess) freeze(t require.TestingT) {
	for n := range modelPartitions {
		if h := p.holds[n]; !p.frozen && h != nil && h.epoch != 0 && h.flying == nil {
			p.step(t, n)
		}
	}

	p.frozen = true
}

// landLate lets transactions arrive that their senders may no longer wait for.
func (m *model) landLate(t *rapid.T) {
	for _, p := range m.processes {
		for n := range modelPartitions {
			if h := p.holds[n]; h != nil && h.flying != nil && rapid.Bool().Draw(t, "lands") {
				p.land(t, n, h)
			}
		}
	}
}

// heal ends freezes and outages.
func (m *model) heal() {
	for _, p := range m.processes {
		p.frozen = false
		if p.cut && !p.stopped {
			p.connect()
		}

		p.cut = false
	}
}

// loseBucket makes it anew, empty: revisions begin again.
func (m *model) loseBucket() {
	m.members, m.leases, m.revision = map[string]modelKey{}, map[int]modelKey{}, 0
	m.edited = true

	for _, p := range m.processes {
		p.news, p.cut, p.own = nil, true, 0
		p.table.blind()
	}
}

// running returns those that turn.
func (m *model) running() []*modelProcess {
	return slices.DeleteFunc(slices.Clone(m.processes), func(p *modelProcess) bool { return p.frozen })
}

// leave removes those that have stopped.
func (m *model) leave() {
	m.processes = slices.DeleteFunc(m.processes, func(p *modelProcess) bool { return p.table.done() })
}

// requireOneBelieves: as long as nobody touches the keys, no two processors that
// can tell time take themselves for the holder.
func (m *model) requireOneBelieves(t require.TestingT) {
	if m.edited {
		return
	}

	for n := range modelPartitions {
		believe := 0

		for _, p := range m.processes {
			if h := p.holds[n]; h != nil && h.revision != 0 && m.now.Before(h.end) {
				believe++
			}
		}

		require.LessOrEqual(t, believe, 1, "partition %d", n)
	}
}

// calmDown lets everybody run, without further trouble.
func (m *model) calmDown(t require.TestingT) {
	if !slices.ContainsFunc(m.processes, func(p *modelProcess) bool { return !p.stopped }) {
		m.join()
	}

	m.heal()

	const tick = 50 * time.Millisecond

	for since := time.Duration(0); since < 5*modelTTL; since += tick {
		m.advance(tick)

		for _, p := range m.processes {
			for len(p.news) > 0 {
				p.hear()
			}

			if since%time.Second == 0 {
				p.renew()
			}

			p.decide()

			for n := range modelPartitions {
				p.step(t, n)
			}
		}

		m.leave()
	}
}

// requireSettled: everything is owned by the one that should, and worked on.
func (m *model) requireSettled(t require.TestingT) {
	var ids []string

	byID := map[string]*modelProcess{}

	for _, p := range m.processes {
		ids = append(ids, p.id)
		byID[p.id] = p
	}

	for n, id := range wanted(modelPartitions, ids) {
		for _, p := range m.processes {
			require.Equal(t, p.id == id, p.holds[n] != nil, "partition %d should be %s's; %s", n, id, p.id)
		}

		require.Equal(t, owning, byID[id].table.slots[n].stage)
		require.Equal(t, id, m.checkpoints[n].owner)

		commits := m.checkpoints[n].commits
		byID[id].step(t, n)
		byID[id].step(t, n)
		require.Equal(t, commits+1, m.checkpoints[n].commits, "its owner commits")
	}
}

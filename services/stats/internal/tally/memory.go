package tally

import "time"

// Memory knows since when partitions are in their state where no owner says so:
// without one, or with one of an earlier version. The zero value has seen
// nothing.
type Memory struct {
	seen map[int]seen // by partition
}

// seen is what the last sample said of a partition.
type seen struct {
	owner, state string
	since        time.Time // zero: it was so in the first sample already
}

// Date fills Since of the partitions of the next sample.
func (m *Memory) Date(s *Stats) {
	if m.seen == nil {
		m.seen = make(map[int]seen)
	}

	for i := range s.Partitions {
		p := &s.Partitions[i]
		if p.Owned == nil {
			continue // nobody was heard: what it was before is the best guess
		}

		now := seen{owner: p.Owner, state: p.State, since: p.Since}
		before, known := m.seen[p.Number]

		switch {
		case !now.since.IsZero():
		case known && before.owner == now.owner && before.state == now.state:
			now.since = before.since
		case known:
			now.since = s.Time
		}

		m.seen[p.Number] = now
		p.Since = now.since
	}
}

package tally

import (
	"slices"
	"time"
)

// speaker is an instance and when it reported last, by its own clock.
type speaker struct {
	*Instance

	reported time.Time
	works    bool // it does something that nobody has taken over
	stopped  bool // in order; it only stands for others
}

// withoutSucceeded marks who has a successor, and leaves that out once nothing has to be said of it any more.
func (r *Reports) withoutSucceeded() *Reports {
	if r == nil {
		return nil
	}

	// What was read is shared by samples, and stays as it was.
	r = &Reports{Listeners: slices.Clone(r.Listeners), Processors: slices.Clone(r.Processors), Departed: slices.Clone(r.Departed)}

	var listeners, processors []speaker

	for i := range r.Listeners {
		l := &r.Listeners[i]
		listeners = append(listeners, speaker{Instance: &l.Instance, reported: l.ReportTime, works: l.works(r.Listeners)})
	}

	for i := range r.Processors {
		p := &r.Processors[i]
		processors = append(processors, speaker{Instance: &p.Instance, reported: p.ReportTime, works: p.works(r.Processors)})
	}

	for i := range r.Departed {
		d := &r.Departed[i]
		if s := (speaker{Instance: &d.Instance, reported: d.ReportTime, stopped: d.Stopped}); d.Role == RoleListener {
			listeners = append(listeners, s)
		} else {
			processors = append(processors, s)
		}
	}

	succession(listeners)
	succession(processors)

	over := make(map[*Instance]bool)
	for _, s := range slices.Concat(listeners, processors) {
		over[s.Instance] = s.isOver()
	}

	return &Reports{
		Listeners:  without(r.Listeners, func(l *Listener) bool { return over[&l.Instance] }),
		Processors: without(r.Processors, func(p *Processor) bool { return over[&p.Instance] }),
		Departed:   without(r.Departed, func(d *Departed) bool { return over[&d.Instance] }),
	}
}

// without leaves some out of a list, which stays as it was.
func without[T any](list []T, over func(*T) bool) (left []T) {
	for i := range list {
		if !over(&list[i]) {
			left = append(left, list[i])
		}
	}

	return left
}

// succession marks those that have a successor: a process of their kind on their host that began after their last report;
// both times are of one clock. Several may share a host: then the one with the same OPS_ADDR. Where that is not known each
// process succeeds one at most: of those that it may have replaced the one that spoke last. Who lives is not among them any
// more with its next report.
func succession(all []speaker) {
	begun := slices.SortedStableFunc(slices.Values(all), func(a, b speaker) int { return a.Start.Compare(b.Start) })

	for _, successor := range begun {
		var last *speaker

		for i := range all {
			s := &all[i]
			if !s.Succeeded && s.mayBeSucceededBy(&successor) && (last == nil || s.reported.After(last.reported)) {
				last = s
			}
		}

		if last != nil {
			last.Succeeded = true
		}
	}
}

func (s *speaker) mayBeSucceededBy(other *speaker) bool {
	samePlace := s.OpsAddr == other.OpsAddr || s.OpsAddr == "" || other.OpsAddr == ""

	return s.Instance != other.Instance && s.Host == other.Host && samePlace && other.Start.After(s.reported)
}

// isOver tells whether nothing has to be said of it any more: it stopped in order, or it has a successor, and what it did is
// taken over, or its leases have ended.
func (s *speaker) isOver() bool {
	return s.stopped || s.Succeeded && s.isMissed() && (!s.works || s.Silent > s.patience())
}

// works tells whether it is active, and no later one is.
func (l *Listener) works(all []Listener) bool {
	return l.State != standby && !slices.ContainsFunc(all, func(other Listener) bool { return other.Term > l.Term })
}

// works tells whether it owns a partition that no other has taken over.
func (p *Processor) works(all []Processor) bool {
	taken := func(claim Ownership) bool {
		return slices.ContainsFunc(all, func(other Processor) bool {
			return slices.ContainsFunc(other.Partitions, func(o Ownership) bool { return o.Partition == claim.Partition && o.Epoch > claim.Epoch })
		})
	}

	return slices.ContainsFunc(p.Partitions, func(claim Ownership) bool { return !claim.waits() && !taken(claim) })
}

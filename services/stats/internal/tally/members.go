package tally

import (
	"cmp"
	"slices"
	"strings"
	"time"
)

// Role is what a process does for a flow.
type Role string

// The roles.
const (
	RoleListener  Role = "LISTENER"
	RoleProcessor Role = "PROCESSOR"
)

// word is the role in a sentence.
func (r Role) word() string { return strings.ToLower(string(r)) }

// waiting is the state of a process that goes on by itself.
const waiting = "WAITING"

// Member is a process that reported lately, or is gone without a word.
type Member struct {
	Instance
	Role       Role
	State      string // of a listener as it says, of a processor by memberState
	Reason     string
	Partitions int       // that it owns
	Missed     bool      // it has said nothing for so long that it was killed, is frozen or cut off
	Gone       bool      // it has said nothing for so long that nobody waits for it any more
	ReportTime time.Time // by its own clock
	Arrived    time.Time // by ours
}

// Members lists the processes of a sample, listeners first, then in the order of their ids.
func (s *Stats) Members() []Member {
	members := make([]Member, 0, len(s.Listeners)+len(s.Processors)+len(s.Departed))

	for i := range s.Listeners {
		l := &s.Listeners[i]
		members = append(members, Member{
			Instance: l.Instance, Role: RoleListener, State: l.State, Reason: l.Reason, ReportTime: l.ReportTime, Arrived: l.Arrived,
		})
	}

	for i := range s.Processors {
		p := &s.Processors[i]
		m := Member{Instance: p.Instance, Role: RoleProcessor, Partitions: len(p.Owned()), ReportTime: p.ReportTime, Arrived: p.Arrived}
		m.State, m.Reason = p.memberState()
		members = append(members, m)
	}

	for i := range members {
		if m := &members[i]; m.isMissed() {
			m.Missed, m.Reason = true, m.quiet()
		}
	}

	for i := range s.Departed {
		d := &s.Departed[i]
		members = append(members, Member{
			Instance: d.Instance, Role: d.Role, Reason: s.since(d), Gone: true, ReportTime: d.ReportTime, Arrived: d.Arrived,
		})
	}

	slices.SortStableFunc(members, func(a, b Member) int { return cmp.Or(cmp.Compare(a.Role, b.Role), cmp.Compare(a.ID, b.ID)) })

	return members
}

// Owned are the numbers of the partitions that it owns, in order. Of one whose lease another still holds it only waits to
// be the owner.
func (p *Processor) Owned() (numbers []int) {
	for i := range p.Partitions {
		if o := &p.Partitions[i]; !o.waits() {
			numbers = append(numbers, o.Partition)
		}
	}

	slices.Sort(numbers)

	return numbers
}

// memberState is the worst of its partitions; what keeps the process as a whole
// from taking part is worse than what one of them waits for.
func (p *Processor) memberState() (state, reason string) {
	if reason, found := p.partitionsIn(failed); found {
		return failed, reason
	}

	if p.Reason != "" {
		return waiting, p.Reason
	}

	for _, state := range []string{waitingRewind, paused, acquiring} {
		if reason, found := p.partitionsIn(state); found {
			return waiting, reason
		}
	}

	if len(p.Partitions) == 0 {
		return standby, ""
	}

	return applying, ""
}

// partitionsIn names the partitions in a state, with the reason of the first.
func (p *Processor) partitionsIn(state string) (reason string, found bool) {
	var numbers []int

	for i := range p.Partitions {
		if o := &p.Partitions[i]; o.State == state {
			if numbers == nil {
				reason = o.Reason
			}

			numbers = append(numbers, o.Partition)
		}
	}

	slices.Sort(numbers)

	return withReason(which(numbers)+state, reason), numbers != nil
}

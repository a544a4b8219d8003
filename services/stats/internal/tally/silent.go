package tally

import (
	"fmt"
	"slices"
	"time"
)

// silence after which an instance is missed whatever its lease says: a living one reports every 5 s at least, and three
// times in its LEASE_TTL. After 15 s without a report it is taken for gone.
const silence = 7 * time.Second

// isMissed tells whether it was killed, is frozen or cut off: it has said nothing for so long that it has lost every
// lease. A standby has none, so it is not the leases that are looked at but what its report promises.
func (i *Instance) isMissed() bool {
	patience := silence
	if i.LeaseTTL > 0 {
		patience = min(i.LeaseTTL, silence)
	}

	return i.Silent > patience
}

// quiet says for how long it has said nothing.
func (i *Instance) quiet() string {
	return "has said nothing for " + i.Silent.Round(time.Second).String()
}

// speaker is an instance and when it reported last, by its own clock.
type speaker struct {
	*Instance

	reported time.Time
}

// wasReplaced tells whether it is missed, and a process of its kind began on its host since it reported: both times are of
// one clock.
func (s speaker) wasReplaced(all []speaker) bool {
	return s.isMissed() && slices.ContainsFunc(all, func(other speaker) bool { return other.Host == s.Host && other.Start.After(s.reported) })
}

// withoutReplaced leaves out what was killed and started again: it is gone, and nothing has to be done about it.
func (r *Reports) withoutReplaced() *Reports {
	if r == nil {
		return nil
	}

	var listeners, processors []speaker

	for i := range r.Listeners {
		listeners = append(listeners, speaker{&r.Listeners[i].Instance, r.Listeners[i].ReportTime})
	}

	for i := range r.Processors {
		processors = append(processors, speaker{&r.Processors[i].Instance, r.Processors[i].ReportTime})
	}

	left := new(Reports)

	for i, s := range listeners {
		if !s.wasReplaced(listeners) {
			left.Listeners = append(left.Listeners, r.Listeners[i])
		}
	}

	for i, s := range processors {
		if !s.wasReplaced(processors) {
			left.Processors = append(left.Processors, r.Processors[i])
		}
	}

	return left
}

// judgeSilent names the instances that are missed: until they are taken for gone nothing else is seen of it. Others have
// taken over by then, so it is no more than DEGRADED.
func judgeSilent(in *Input) []finding {
	if in.Reports == nil {
		return nil
	}

	var findings []finding

	judge := func(role string, i *Instance) {
		if i.isMissed() {
			findings = append(findings, finding{
				Degraded, fmt.Sprintf("%s on %s (process %d) %s", role, i.Host, i.PID, i.quiet()),
				"look whether it runs and reaches NATS; what it did is taken over by the others, if there are any",
			})
		}
	}

	for i := range in.Reports.Listeners {
		judge("listener", &in.Reports.Listeners[i].Instance)
	}

	for i := range in.Reports.Processors {
		judge("processor", &in.Reports.Processors[i].Instance)
	}

	return findings
}

package tally

import (
	"fmt"
	"time"
)

// silence after which an instance is missed whatever its lease says: a living one reports every 5 s at least, and three
// times in its LEASE_TTL. After 15 s without a report it is taken for gone.
const silence = 7 * time.Second

// patience is for how long it may say nothing before it has lost every lease. A standby has none, so it is not the leases
// that are looked at but what its report promises.
func (i *Instance) patience() time.Duration {
	if i.LeaseTTL > 0 {
		return min(i.LeaseTTL, silence)
	}

	return silence
}

// doubt is for how long one may say nothing that has a successor: longer than from one promised report to the next, of
// which there are three in its patience, and so short that it is named before others can have taken over, after two thirds.
func (i *Instance) doubt() time.Duration { return i.patience() * 2 / 5 } //nolint:mnd // two fifths

// alarm is for how long it may say nothing before that is told: two promised reports are missing then. It comes before the
// leases end, so that who looks once a second knows why the work stands still as soon as others may take it over.
func (i *Instance) alarm() time.Duration {
	if i.LeaseTTL > 0 {
		return min(i.LeaseTTL*4/5, silence) //nolint:mnd // four fifths
	}

	return silence
}

// isMissed tells whether it was killed, is frozen or cut off: it has said nothing for so long that it loses every lease.
// One that has a successor is missed sooner: a silence and a process begun since are two signs of one death.
func (i *Instance) isMissed() bool {
	return i.Silent > i.alarm() || i.Succeeded && i.Silent > i.doubt()
}

// quiet says for how long it has said nothing.
func (i *Instance) quiet() string {
	return "has said nothing for " + i.Silent.Round(time.Second).String()
}

// judgeSilent names the instances that are missed: until they are taken for gone nothing else is seen of it. Others have
// taken over by then, so it is no more than DEGRADED.
func judgeSilent(in *Input) []finding {
	if in.Reports == nil {
		return nil
	}

	var findings []finding

	judge := func(role Role, i *Instance) {
		if !i.isMissed() {
			return
		}

		f := finding{
			Degraded, i.naming(role) + " " + i.quiet(),
			"look whether it runs and reaches NATS; what it did is taken over by the others, if there are any",
		}
		if i.Succeeded {
			f.reason += ", and another has begun there since: what it did is taken over when its leases end"
			f.nextStep = "nothing, if it passes; its log, or that of its host, says why it ended"
		}

		findings = append(findings, f)
	}

	for i := range in.Reports.Listeners {
		judge(RoleListener, &in.Reports.Listeners[i].Instance)
	}

	for i := range in.Reports.Processors {
		judge(RoleProcessor, &in.Reports.Processors[i].Instance)
	}

	return findings
}

// naming is such that a person finds the process.
func (i *Instance) naming(role Role) string {
	return fmt.Sprintf("%s on %s (process %d)", role.word(), i.Host, i.PID)
}

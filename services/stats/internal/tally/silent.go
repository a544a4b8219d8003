package tally

import (
	"fmt"
	"time"
)

// silence after which an instance is worth a look. A living one reports every 5 s at least; after 15 s without a report
// it is taken for gone.
const silence = 7 * time.Second

// speaker is an instance and when it reported last, by its own clock.
type speaker struct {
	Instance

	role     string
	reported time.Time
}

// judgeSilent names the instances that were killed, are frozen or cut off: between their last report and the time when
// they are taken for gone nothing else is seen of it. Others have taken over by then, so it is no more than DEGRADED.
// One that was restarted is gone already.
func judgeSilent(in *Input) []finding {
	if in.Reports == nil {
		return nil
	}

	var all []speaker

	for _, l := range in.Reports.Listeners {
		all = append(all, speaker{l.Instance, "listener", l.ReportTime})
	}

	for _, p := range in.Reports.Processors {
		all = append(all, speaker{p.Instance, "processor", p.ReportTime})
	}

	var findings []finding

	for i := range all {
		if s := &all[i]; s.Silent > silence && !s.wasRestarted(all) {
			findings = append(findings, finding{
				Degraded, fmt.Sprintf("%s on %s (process %d) has said nothing for %s", s.role, s.Host, s.PID, s.Silent.Round(time.Second)),
				"look whether it runs and reaches NATS; what it did is taken over by the others, if there are any",
			})
		}
	}

	return findings
}

// wasRestarted tells whether a process of its kind began on its host since it reported: both times are of one clock.
func (s *speaker) wasRestarted(all []speaker) bool {
	for i := range all {
		if other := &all[i]; other.role == s.role && other.Host == s.Host && other.Start.After(s.reported) {
			return true
		}
	}

	return false
}

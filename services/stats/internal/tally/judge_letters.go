package tally

import (
	"cmp"
	"fmt"
	"strconv"
	"strings"
)

func judgeUnsupported(in *Input) []finding {
	var (
		findings   []finding
		more, many int64 // kinds that are not named, and their events
	)

	for _, u := range in.Unsupported {
		if u.Unaccepted() == 0 {
			continue
		}

		if len(findings) == mostNamed {
			more++
			many += u.Unaccepted()

			continue
		}

		namespace := strings.TrimSuffix(u.DB+"."+u.Coll, ".")
		findings = append(findings, finding{
			status:   Diverged,
			reason:   fmt.Sprintf("%s on %s was not applied (events: %d)", u.Operation, namespace, u.Unaccepted()),
			nextStep: "compare " + namespace + " on both sides and bring the target up to the source by hand, then relayctl flow accept-divergence",
		})
	}

	if more > 0 {
		findings = append(findings, finding{
			status:   Diverged,
			reason:   fmt.Sprintf("events of %d more kinds and namespaces were not applied (events: %d)", more, many),
			nextStep: "relayctl verify tells what differs",
		})
	}

	return findings
}

// judgeParked says how many events are set aside, and the oldest one's error.
func (s *Stats) judgeParked(in *Input) []finding {
	if in.Parked == nil {
		return nil
	}

	var findings []finding

	if in.Parked.Dead > 0 {
		number := strconv.FormatUint(in.Parked.Dead, 10)
		if in.Parked.More {
			number += " or more"
		}

		findings = append(findings, finding{
			status:   Diverged,
			reason:   "dead letters: " + number + in.Parked.OldestDead.describe(),
			nextStep: "relayctl dead-letters list; mend the cause, then replay them, or discard them",
		})
	}

	if s.Parked != nil && *s.Parked > 0 {
		what, nextStep := s.setAside()
		findings = append(findings, finding{Degraded, what + in.Parked.OldestWaiting.describe(), nextStep})
	}

	return findings
}

func (a *SetAside) describe() string {
	if a == nil {
		return "" // it was settled while the sample was taken
	}

	text := "; the oldest is in " + cmp.Or(a.Namespace.String(), "an unknown collection")

	switch {
	case a.Error != "" && a.Code != 0 && !strings.Contains(a.Error, fmt.Sprintf("(%d)", a.Code)):
		return text + fmt.Sprintf(": %s (code %d)", a.Error, a.Code)
	case a.Error != "":
		return text + ": " + a.Error
	default:
		return text
	}
}

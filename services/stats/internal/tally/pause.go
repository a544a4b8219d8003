package tally

import (
	"fmt"
	"strings"
)

// judgePause says who has paused the flow, or namespaces of it, and which partitions have not taken the former up yet.
func (s *Stats) judgePause(in *Input) []finding {
	var findings []finding

	if in.PauseDamaged != nil {
		findings = append(findings, finding{Unknown, "what is paused: " + in.PauseDamaged.Error(), in.PauseDamaged.Remedy()})
	}

	if s.Pause != nil {
		reason := s.Pause.String()
		if still := s.stillApplying(); len(still) > 0 {
			reason += "; not taken up yet by partitions " + ranges(still)
		}

		findings = append(findings, finding{Degraded, reason, "relayctl flow resume, when the target may be written to again"})
	}

	for i := range s.PausedNamespaces {
		n := &s.PausedNamespaces[i]
		findings = append(findings, finding{
			Degraded, n.Name() + " is " + n.Pause.String(), "relayctl flow resume --namespace " + n.Name() + ", when it may be written to again",
		})
	}

	return findings
}

func (s *Stats) stillApplying() (numbers []int) {
	for i := range s.Partitions {
		if p := &s.Partitions[i]; p.State == applying && p.Owner != "" {
			numbers = append(numbers, p.Number)
		}
	}

	return numbers
}

// setAside says what becomes of changes that wait.
func (s *Stats) setAside() (what, nextStep string) {
	if len(s.PausedNamespaces) == 0 {
		return fmt.Sprintf("changes set aside and retried: %d", *s.Parked), "nothing, if it passes; after the last retry they become dead letters"
	}

	names := make([]string, len(s.PausedNamespaces))
	for i := range s.PausedNamespaces {
		names[i] = s.PausedNamespaces[i].Name()
	}

	return fmt.Sprintf("changes set aside: %d; those of %s wait until that is resumed", *s.Parked, strings.Join(names, ", ")), "relayctl flow resume"
}

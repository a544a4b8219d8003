package tally

import "fmt"

// judgePause says who has paused the flow, and which partitions have not taken that up yet.
func (s *Stats) judgePause() []finding {
	if s.Pause == nil {
		return nil
	}

	var still []int

	for i := range s.Partitions {
		if p := &s.Partitions[i]; p.State == applying && p.Owner != "" {
			still = append(still, p.Number)
		}
	}

	reason := s.Pause.String()
	if len(still) > 0 {
		reason += fmt.Sprintf("; not taken up yet by partitions %s", ranges(still))
	}

	return []finding{{Degraded, reason, "relayctl flow resume, when the target may be written to again"}}
}

package tally

import "fmt"

// judgeGaps says that changes were not captured, until somebody has accepted
// that the target may differ because of it.
func judgeGaps(in *Input) []finding {
	var findings []finding

	for i := range in.Gaps {
		g := &in.Gaps[i]
		if !g.Diverges() {
			continue
		}

		findings = append(findings, finding{
			status: Diverged,
			reason: fmt.Sprintf("changes of the source between position %s and %s were not captured (gap %s, accepted by %s: %s)",
				g.From.Position, g.To.Position, g.ID, g.Requested.By, g.Requested.Reason),
			nextStep: "compare both sides and bring the target up to the source by hand, then relayctl flow accept-divergence",
		})
	}

	return findings
}

// countGaps is how many gaps the flow has had; nil while the target was not read.
func countGaps(in *Input) *uint64 {
	if in.Checkpoints == nil {
		return nil
	}

	number := uint64(0)

	for i := range in.Gaps {
		if in.Gaps[i].Counts() {
			number++
		}
	}

	return &number
}

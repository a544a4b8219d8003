package tally

import (
	"fmt"
	"slices"

	"github.com/atlas-relay/atlas-relay/pkg/gap"
)

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
			reason: fmt.Sprintf("changes of the source between position %s and %s were not %s (gap %s, accepted by %s: %s)",
				g.From.Position, g.To.Position, missed(g), g.ID, g.Requested.By, g.Requested.Reason),
			nextStep: "compare both sides and bring the target up to the source by hand, then relayctl flow accept-divergence",
		})
	}

	return findings
}

// missed is what became of the changes in a gap.
func missed(g *gap.Document) string {
	switch {
	case g.ReplacedBy != "":
		return fmt.Sprintf("all applied: their stream is gone, and with it %d events at least", g.Lost)
	case g.Generation > 0:
		return fmt.Sprintf("all applied: their stream had a hole, and %d events at least of it were passed over", g.Lost)
	default:
		return "captured"
	}
}

// replaced tells whether the stream was made behind an accepted gap.
func replaced(in *Input) bool {
	return slices.ContainsFunc(in.Gaps, func(g gap.Document) bool { return g.ReplacedBy == in.Stream.ID })
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

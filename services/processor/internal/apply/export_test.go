package apply

import "context"

// WritePrefix makes only the first writes of a plan, as a target without transactions does that is killed in their
// middle.
func (a *Applier) WritePrefix(ctx context.Context, plan *Plan, n int) error {
	part := *plan
	part.writes = plan.writes[:min(n, len(plan.writes))]

	return a.writeAlone(ctx, &part)
}

// Writes is how many writes the plan has.
func (p *Plan) Writes() int { return len(p.writes) }

// Known is how many signs are remembered.
func (s *Suspects) Known() int { return len(s.signs) }

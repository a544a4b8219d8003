package simulation

import (
	"slices"
)

// shrinkings bounds the runs that a failure is shrunk by.
const shrinkings = 200

// Shrink leaves out of a failing plan the faults that it fails without, and returns the
// result of what is left. kept are their numbers in the plan of the seed.
func Shrink(plan *Plan) (smallest *Result, kept []int) {
	for i := range plan.Faults {
		kept = append(kept, i)
	}

	all := plan.Faults
	smallest = Run(plan, false)
	runs := 0

	for size := max(len(kept)/2, 1); size >= 1; {
		shrunk := false

		for from := 0; from < len(kept) && runs < shrinkings; {
			fewer := slices.Delete(slices.Clone(kept), from, min(from+size, len(kept)))
			runs++

			if r := Run(plan.only(all, fewer), false); r.Failure != nil {
				smallest, kept, shrunk = r, fewer, true
			} else {
				from += size
			}
		}

		if !shrunk || size > len(kept) {
			if size == 1 {
				break
			}

			size /= 2
		}
	}

	return smallest, kept
}

// Only is the plan with these of its faults.
func (p *Plan) Only(numbers []int) *Plan { return p.only(p.Faults, numbers) }

func (p *Plan) only(all []Fault, numbers []int) *Plan {
	fewer := *p
	fewer.Faults = nil

	for i, f := range all {
		if slices.Contains(numbers, i) {
			fewer.Faults = append(fewer.Faults, f)
		}
	}

	return &fewer
}

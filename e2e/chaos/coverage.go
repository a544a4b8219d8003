package chaos

import (
	"cmp"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"strings"

	"github.com/atlas-relay/atlas-relay/pkg/failpoint"
)

// way is a failpoint and what it does there.
type way struct {
	point  failpoint.Point
	action failpoint.Action
}

// ways are all that failpoints can do.
func ways() (all []way) {
	for _, place := range failpoint.Table() {
		for _, action := range []failpoint.Action{failpoint.Exit, failpoint.Fail, failpoint.Wait} {
			if action != failpoint.Fail || place.Errors {
				all = append(all, way{place.Point, action})
			}
		}
	}

	return all
}

// need is what a run must have for a failpoint to be passed. Those that have none are passed by every run sooner or later.
type need struct {
	says string
	met  func(p *Plan) bool
}

func needs() map[failpoint.Point]need {
	never := func(*Plan) bool { return false }
	schema := need{"schema changes", func(p *Plan) bool { return p.Schema }}
	standalone := need{"a target without transactions", func(p *Plan) bool { return p.Standalone }}
	paused := need{"the class pause", func(p *Plan) bool { return p.has("pause") }}
	letters := need{"the class letters", func(p *Plan) bool { return p.fails() }}

	return map[failpoint.Point]need{
		failpoint.PartSent:       {"documents of 16 MiB", func(p *Plan) bool { return p.Load.Large > 0 }},
		failpoint.BarrierArrived: schema, failpoint.BarrierLeft: schema,
		failpoint.SchemaPrepared: schema, failpoint.SchemaClaimed: schema, failpoint.SchemaMade: schema,
		failpoint.IntentsWritten: standalone, failpoint.WrittenAlone: standalone, failpoint.DebtsOwed: standalone,
		failpoint.PauseWritten: paused,
		failpoint.AuditBegun:   letters, failpoint.LettersChanged: letters, failpoint.DeadMarked: letters,
		failpoint.CheckpointWritten: {"a target without the command bulkWrite, which those of the tests have", never},
	}
}

// has tells whether a step is of this class.
func (p *Plan) has(class string) bool {
	return slices.ContainsFunc(p.Steps, func(s Step) bool { return s.Class.Name == class })
}

// Coverage is what the failpoints of many runs have done.
type Coverage struct {
	struck, vain map[way]int // runs; vain: armed, and never reached
	passed       map[failpoint.Point]int
}

// CoverageOf adds runs up.
func CoverageOf(records []Record) *Coverage {
	c := &Coverage{struck: map[way]int{}, vain: map[way]int{}, passed: map[failpoint.Point]int{}}

	for i := range records {
		for name, struck := range records[i].Armed {
			armed, err := failpoint.Parse(name)
			if err != nil || len(armed) != 1 {
				continue // a point that was renamed since
			}

			w := way{armed[0].Point, armed[0].Action}
			if struck {
				c.struck[w]++
			} else {
				c.vain[w]++
			}
		}

		for _, point := range records[i].Passed {
			c.passed[point]++
		}
	}

	return c
}

// Choose returns the failpoints that a run with this plan arms so that everything is struck sooner or later: first what no run
// has struck yet, and of that what was tried least. What was tried in vain is armed at an earlier passage.
func (c *Coverage) Choose(p *Plan) (chosen []failpoint.Armed) {
	r := rand.New(rand.NewPCG(p.Seed, 2))
	needs := needs()

	open := slices.DeleteFunc(ways(), func(w way) bool {
		need, there := needs[w.point]

		return there && !need.met(p)
	})

	r.Shuffle(len(open), func(i, j int) { open[i], open[j] = open[j], open[i] })
	slices.SortStableFunc(open, func(a, b way) int {
		return cmp.Or(c.struck[a]-c.struck[b], c.vain[a]-c.vain[b])
	})

	// Passages are spread over the run.
	mean := 15 * max(1, float64(p.Changes)/usualLength/2)

	for _, w := range open[:min(len(open), 3*p.points())] {
		a := failpoint.Armed{Point: w.point, Action: w.action, Passage: 1}

		switch c.vain[w] {
		case 0:
			a.Passage += uint64(r.ExpFloat64() * mean)
		case 1:
			a.Passage += uint64(r.ExpFloat64() * 4)
		}

		if a.Action == failpoint.Wait {
			a.For = p.sleep(r)
		}

		chosen = append(chosen, a)

		// Nobody is in doubt unless a reply was cut.
		if w.point == failpoint.InDoubt {
			chosen = append(chosen, failpoint.Armed{Point: failpoint.CommitSent, Action: failpoint.Fail, Passage: a.Passage})
		}
	}

	return slices.CompactFunc(slices.SortedFunc(slices.Values(chosen), func(a, b failpoint.Armed) int {
		return strings.Compare(a.String(), b.String())
	}), func(a, b failpoint.Armed) bool { return a == b })
}

// Write says which ways of failing were struck, and which never: a line for each failpoint.
func (c *Coverage) Write(out io.Writer) {
	all, needs := ways(), needs()
	struck := 0
	never := map[failpoint.Point][]string{}

	for _, w := range all {
		if c.struck[w] > 0 {
			struck++
		} else {
			never[w.point] = append(never[w.point], fmt.Sprintf("%s (armed in %d runs)", w.action, c.vain[w]))
		}
	}

	fmt.Fprintf(out, "%d of the %d ways in which the %d failpoints fail have struck.\n", struck, len(all), len(failpoint.Table()))

	if len(never) > 0 {
		fmt.Fprintf(out, "Never struck:\n\n")
	}

	for _, place := range failpoint.Table() {
		if actions := never[place.Point]; actions != nil {
			lacks := needs[place.Point].says
			if lacks != "" {
				lacks = "; needs " + lacks
			}

			fmt.Fprintf(out, "- %s, passed in %d runs: %s%s\n", place.Point, c.passed[place.Point], strings.Join(actions, ", "), lacks)
		}
	}
}

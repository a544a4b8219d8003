package views

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"time"
)

// Verdict is what a comparison of all looks found.
type Verdict struct {
	Samples    int            // that were looked at
	Consistent int            // of them, with a sum
	Shared     map[string]int // looks of a view at a sample that another view told of too
	Screens    int            // looks at relayctl top
	OfASample  int            // of them, those that have all the numbers of a sample that another view told of

	Disagreements []string // two views tell differently of one sample
	Backwards     []string // a number that never goes back went back
}

// String is for people.
func (v *Verdict) String() string {
	return fmt.Sprintf("%d samples, %d of them consistent; looks at the same one as another view: %v; relayctl top: %d looks, %d of them are of a sample that others told of too; "+
		"disagreements: %d; numbers that went back: %d", v.Samples, v.Consistent, v.Shared, v.Screens, v.OfASample, len(v.Disagreements), len(v.Backwards))
}

// Compare holds every look against those at the same sample, the samples against one another, and the terminal, which does
// not say of which sample it is, against the samples before it.
func (v *Views) Compare() *Verdict {
	v.mu.Lock()
	defer v.mu.Unlock()

	verdict := &Verdict{Shared: map[string]int{}, Samples: len(v.looks), Screens: len(v.screens)}
	reached := reached{verdict: verdict, most: map[string]uint64{}, by: map[string]string{}}

	for _, at := range slices.Sorted(maps.Keys(v.looks)) {
		told := verdict.compareSample(at, v.looks[at])

		switch told[factAddsUp] {
		case "true":
			verdict.Consistent++
		case "false":
			verdict.Disagreements = append(verdict.Disagreements, fmt.Sprintf("the sum of the sample %d does not add up: %v", at, v.looks[at]))
		}

		reached.next(told, fmt.Sprintf("the sample %d", at))
	}

	v.compareScreens(verdict)

	return verdict
}

// compareSample returns what was told of a sample.
func (v *Verdict) compareSample(at sampleTime, looks []Look) map[string]string {
	told := map[string]string{} // by fact

	for _, l := range looks {
		if len(looks) > 1 {
			v.Shared[l.View]++
		}

		for fact, value := range l.Facts {
			if before, known := told[fact]; known && before != value {
				v.Disagreements = append(v.Disagreements, fmt.Sprintf("%s of the sample %d is %q or %q: %v", fact, at, before, value, looks))
			}

			told[fact] = value
		}
	}

	return told
}

// reached is how far the numbers have come.
type reached struct {
	verdict *Verdict
	most    map[string]uint64
	by      map[string]string
}

func (r *reached) next(facts map[string]string, what string) {
	for _, fact := range cumulative() {
		n, err := strconv.ParseUint(facts[fact], 10, 64)
		if err != nil {
			continue // unknown
		}

		if n < r.most[fact] {
			r.verdict.Backwards = append(r.verdict.Backwards, fmt.Sprintf("%s of %s is %d; %s had %d", fact, what, n, r.by[fact], r.most[fact]))
		}

		r.most[fact], r.by[fact] = n, what
	}
}

// compareScreens holds the terminal against the samples: no number goes back, none is ahead of what was ever told until
// then, and what stands there together is of one sample.
func (v *Views) compareScreens(verdict *Verdict) {
	const late = time.Second // between the sample and the look at the screen, the other way round

	reached := reached{verdict: verdict, most: map[string]uint64{}, by: map[string]string{}}

	for i := range v.screens {
		s := &v.screens[i]
		reached.next(s.Facts, "relayctl top at "+s.Seen.Format(time.StampMilli))

		for _, fact := range cumulative() {
			if n, err := strconv.ParseUint(s.Facts[fact], 10, 64); err == nil && n > v.most(fact, s.Seen.Add(late)) {
				verdict.Disagreements = append(verdict.Disagreements, fmt.Sprintf("%s of %v was never told", fact, *s))
			}
		}

		if v.isOfASample(s) {
			verdict.OfASample++
		}
	}
}

// most is the highest number that was told of samples until a moment.
func (v *Views) most(fact string, until time.Time) (most uint64) {
	for at, looks := range v.looks {
		if time.UnixMicro(int64(at)).After(until) {
			continue
		}

		for _, l := range looks {
			if n, err := strconv.ParseUint(l.Facts[fact], 10, 64); err == nil {
				most = max(most, n)
			}
		}
	}

	return most
}

// isOfASample tells whether some sample of the last seconds before has all the numbers and the status of the screen.
func (v *Views) isOfASample(s *Look) bool {
	const before = 5 * time.Second

	for at, looks := range v.looks {
		if age := s.Seen.Sub(time.UnixMicro(int64(at))); age < 0 || age > before {
			continue
		}

		same := slices.ContainsFunc(looks, func(l Look) bool {
			for fact, value := range s.Facts {
				if other, told := l.Facts[fact]; fact != FactReasons && (!told || other != value) {
					return false
				}
			}

			return true
		})
		if same {
			return true
		}
	}

	return false
}

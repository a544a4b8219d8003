package mutants

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Page is where the table of all mutants is kept, from the root of the tree.
const Page = "e2e/MUTANTS.md"

const (
	survived = "**survived**"
	notRun   = "not run yet"

	columns = "| mutant | planted in | what is wrong | found by | seeds | time |\n|---|---|---|---|---|---|\n"
	preface = `# Planted bugs

Each line is a small mistake that was planted in the relay, alone, and the test that found it. ` + "`make mutants`" + ` plants them all,
writes this page and fails when one survives; [ADR 33](../deploy/adr/0033-planted-bugs.md) says what counts as found.
Nobody chose the tests: first all of the mutant's package ran, then those of the packages that use it, then the end-to-end tests, then
chaos runs; the first failure counts, when the test fails with the mutant twice more and passes without it as often (once, for
about seventeen of the listener's).

*unit*: a test beside the code, many with real servers; *property*: one with random input, or a simulation; *end to end*: services
as processes; *chaos*: a chaos run. *seeds*: runs with seeds of their own until it was found; in brackets how many cases the property
tried in that run. *time*: from planting it to the end of the search, with compiling, on a machine that had other work.
`
)

// row is a line of the table.
type row struct{ name, file, what, by, seeds, took string }

func (r *row) String() string {
	return fmt.Sprintf("| %s | %s | %s | %s | %s | %s |\n", r.name, r.file, r.what, r.by, r.seeds, r.took)
}

// Rendered is the page after these outcomes. Lines of mutants that were not looked for this time stay as they are before.
func Rendered(before string, all []Mutant, outcomes []Outcome) string {
	known := map[string]row{}
	for _, r := range rows(before) {
		known[r.name] = r
	}

	for i := range outcomes {
		r := rowOf(&outcomes[i])
		known[r.name] = r
	}

	var (
		table strings.Builder
		list  []row
	)

	for i := range all {
		m := &all[i]

		r, found := known[code(m.Name)]
		if !found {
			r = row{by: notRun}
		}

		r.name, r.file, r.what = code(m.Name), code(m.File), cell(m.What)
		list = append(list, r)
		table.WriteString(r.String())
	}

	return preface + "\n" + summary(list) + "\n" + columns + table.String()
}

func rowOf(o *Outcome) row {
	r := row{name: code(o.Mutant.Name), took: o.Took.Round(time.Second).String()}

	switch f := o.Finding; {
	case o.Err != nil:
		r.by = "not looked for: " + cell(firstLine(o.Err.Error()))
	case f == nil:
		r.by = survived
	case f.Kind == Random:
		r.by, r.seeds = string(f.Kind)+": "+cell(f.Test), strconv.Itoa(f.Seeds)
	default:
		test := f.Test
		if test == "" {
			test = "the program of the tests"
		} else {
			test = code(test)
		}

		r.by = fmt.Sprintf("%s: %s of %s", f.Kind, test, code(f.Package))
		if f.Hung {
			r.by += ", which does not end"
		}

		if f.Kind == Property {
			r.seeds = strconv.Itoa(f.Seeds)
		}

		if f.Cases > 0 {
			r.seeds += fmt.Sprintf(" (%d)", f.Cases)
		}
	}

	return r
}

func code(text string) string { return "`" + text + "`" }

// cell keeps a text from ending the cell of a table.
func cell(text string) string {
	return strings.ReplaceAll(strings.ReplaceAll(text, "\n", " "), "|", `\|`)
}

func firstLine(text string) string {
	line, _, _ := strings.Cut(text, "\n")

	return line
}

// rows reads the table of a page.
func rows(page string) []row {
	var list []row

	for line := range strings.SplitSeq(page, "\n") {
		line = strings.ReplaceAll(line, `\|`, "\x00")

		cells := strings.Split(line, "|")
		if len(cells) != 8 || !strings.HasPrefix(line, "| `") {
			continue
		}

		for i := range cells {
			cells[i] = strings.TrimSpace(strings.ReplaceAll(cells[i], "\x00", `\|`))
		}

		list = append(list, row{cells[1], cells[2], cells[3], cells[4], cells[5], cells[6]})
	}

	return list
}

// summary says how many were found, and by what.
func summary(list []row) string {
	var (
		seeds []int
		found int
		by    = map[Kind]int{}
	)

	for i := range list {
		for _, kind := range kinds() {
			if strings.HasPrefix(list[i].by, string(kind)+": ") {
				by[kind]++
				found++
			}
		}

		if n, err := strconv.Atoi(firstWord(list[i].seeds)); err == nil {
			seeds = append(seeds, n)
		}
	}

	parts := make([]string, 0, len(by))
	for _, kind := range kinds() {
		parts = append(parts, fmt.Sprintf("%s %d", kind, by[kind]))
	}

	text := fmt.Sprintf("**%d of %d found** (%s).", found, len(list), strings.Join(parts, ", "))

	if slices.Sort(seeds); len(seeds) > 0 {
		text += fmt.Sprintf(" Where input is random, the median of the seeds is %d, the most %d.", seeds[(len(seeds)-1)/2], seeds[len(seeds)-1])
	}

	return text + "\n"
}

func kinds() []Kind { return []Kind{Unit, Property, Process, Random} }

func firstWord(text string) string {
	word, _, _ := strings.Cut(text, " ")

	return word
}

// String is what became of a mutant, in a line.
func (o *Outcome) String() string {
	r := rowOf(o)

	line := fmt.Sprintf("%s: %s", o.Mutant.Name, r.by)
	if r.seeds != "" {
		line += ", seeds " + r.seeds
	}

	return line + ", " + r.took
}

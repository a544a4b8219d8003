package chaos

import (
	"bytes"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
)

// The files of the tree that recorded runs go to, from its root.
const (
	LedgerFile  = "e2e/chaos/runs.jsonl"
	ResultsFile = "e2e/CHAOS.md"
)

const resultsHead = `# Chaos runs

` + "`make chaos RECORD=1 RUNS=… SEED=… CHANGES=… RATE=…`" + ` makes runs, appends a line for each to
[chaos/runs.jsonl](chaos/runs.jsonl), and writes this page anew from all of its lines: runs of many sittings add up. What a run
is: [ADR 27](../deploy/adr/0027-failpoints-and-chaos-runs.md). The classes of faults are described in chaos/fault_*.go.

- *planned*, *struck*: faults of that class in all runs; those that really hit.
- *busy*: struck, while the source took at least a hundred changes.
- *hits*: what they struck with: processes, connections, messages, transactions, refused documents.
- *recovered*: time from the end of a fault until a sample says OK, samples being taken twice a second. A fault behind
  which the next one began before that is left out, as are runs that could not be recorded: those whose target
  has no transactions, and those that ended as they must.
`

// WriteResults writes the page of all recorded runs into the tree at root.
func WriteResults(root string) error {
	records, err := ReadLedger(filepath.Join(root, LedgerFile))
	if err != nil {
		return err
	}

	var page bytes.Buffer

	Results(&page, records)

	if err := os.WriteFile(filepath.Join(root, ResultsFile), page.Bytes(), 0o644); err != nil {
		return fmt.Errorf("write the results: %w", err)
	}

	return nil
}

// Results writes the page of these runs.
func Results(out io.Writer, records []Record) {
	fmt.Fprintf(out, "%s\n", resultsHead)
	writeRuns(out, records)
	writeClasses(out, records)
	fmt.Fprintf(out, "\n## Failpoints\n\n")
	CoverageOf(records).Write(out)
	writeFindings(out, records)
}

// writeRuns has a line for each revision, in the order of their first runs.
func writeRuns(out io.Writer, records []Record) {
	type sum struct {
		runs, good, ended, wrong, failed, struck int
		changes                                  uint64
		took                                     time.Duration
		seeds                                    []uint64
	}

	var (
		order []string
		sums  = map[string]*sum{}
	)

	for i := range records {
		r := &records[i]
		for _, name := range []string{r.Revision, "all"} {
			if name != "all" && !slices.Contains(order, name) {
				order = append(order, name)
			}

			s := entry(sums, name)
			s.runs++
			s.changes += r.Changes
			s.took += r.Took
			s.seeds = append(s.seeds, r.Seed)

			switch {
			case r.Failed != "":
				s.failed++
			case len(r.Wrong) > 0:
				s.wrong++
			default:
				s.good++
			}

			if r.Ended != "" {
				s.ended++
			}

			for _, c := range r.Faults {
				s.struck += c.Struck
			}
		}
	}

	fmt.Fprintln(out, "| revision | runs | good | of them ended as they must | broke a promise | could not be made | changes | faults struck | took | seeds |")
	fmt.Fprintln(out, "|---|---:|---:|---:|---:|---:|---:|---:|---:|---|")

	for _, name := range append(order, "all") {
		s := entry(sums, name)
		fmt.Fprintf(out, "| %s | %d | %d | %d | %d | %d | %d | %d | %s | %s |\n",
			name, s.runs, s.good, s.ended, s.wrong, s.failed, s.changes, s.struck, s.took.Round(time.Second), ranges(s.seeds))
	}

	if runs := entry(sums, "all"); runs.runs > 0 && runs.wrong == 0 {
		fmt.Fprintf(out, "\nNo failure in %d runs: with 95 %% confidence fewer than %.1f %% of such runs fail (3/N).\n", runs.good, min(100, 300/float64(runs.good)))
	}
}

// ranges writes 80000, 80001, 80002, 90000 as 80000–80002, 90000.
func ranges(numbers []uint64) string {
	numbers = slices.Compact(slices.Sorted(slices.Values(numbers)))

	var parts []string

	for len(numbers) > 0 {
		n := 1
		for n < len(numbers) && numbers[n] == numbers[n-1]+1 {
			n++
		}

		part := strconv.FormatUint(numbers[0], 10)
		if n > 1 {
			part += fmt.Sprintf("–%d", numbers[n-1])
		}

		parts, numbers = append(parts, part), numbers[n:]
	}

	return strings.Join(parts, ", ")
}

// writeClasses has a line for each class of faults.
func writeClasses(out io.Writer, records []Record) {
	all := map[string]*Counts{}

	for i := range records {
		for name, c := range records[i].Faults {
			total := entry(all, name)
			total.Planned += c.Planned
			total.Struck += c.Struck
			total.Busy += c.Busy
			total.Hits += c.Hits
			total.Recovery = append(total.Recovery, c.Recovery...)
		}
	}

	says := map[string]string{}
	for _, c := range Classes() {
		says[c.Name] = c.Says
	}

	fmt.Fprintf(out, "\n## Faults\n\n")
	fmt.Fprintln(out, "| class | | planned | struck | busy | hits | recovered: measured | half within | 99 % within | slowest |")
	fmt.Fprintln(out, "|---|---|---:|---:|---:|---:|---:|---:|---:|---:|")

	sum := &Counts{}

	for _, name := range slices.Sorted(maps.Keys(all)) {
		c := all[name]
		writeCounts(out, name, says[name], c)

		sum.Planned += c.Planned
		sum.Struck += c.Struck
		sum.Busy += c.Busy
		sum.Hits += c.Hits
		sum.Recovery = append(sum.Recovery, c.Recovery...)
	}

	writeCounts(out, "all", "", sum)
}

func writeCounts(out io.Writer, name, says string, c *Counts) {
	slices.Sort(c.Recovery)

	fmt.Fprintf(out, "| %s | %s | %d | %d | %d | %d | %d | %s | %s | %s |\n", name, says, c.Planned, c.Struck, c.Busy, c.Hits, len(c.Recovery),
		quantile(c.Recovery, 0.5), quantile(c.Recovery, 0.99), quantile(c.Recovery, 1))
}

// quantile is the value that this share of the sorted values does not exceed.
func quantile(sorted []int64, share float64) string {
	if len(sorted) == 0 {
		return ""
	}

	at := min(len(sorted)-1, max(0, int(share*float64(len(sorted))+0.999999)-1))

	return (time.Duration(sorted[at]) * time.Millisecond).Round(10 * time.Millisecond).String()
}

// writeFindings has a paragraph for each run that went wrong, or could not be made or judged.
func writeFindings(out io.Writer, records []Record) {
	fmt.Fprintf(out, "\n## Findings\n\n")

	none := true

	for i := range records {
		r := &records[i]

		for _, text := range append(slices.Clone(r.Wrong), r.Failed, r.Unjudged) {
			if text != "" {
				none = false

				fmt.Fprintf(out, "- %s, seed %d: %s\n  `%s`\n", r.Revision, r.Seed, shorten(text), r.Replay)
			}
		}

		if r.Explained != "" {
			fmt.Fprintf(out, "\n  **What it was**: %s\n", r.Explained)
		}
	}

	if none {
		fmt.Fprintln(out, "None.")
	}
}

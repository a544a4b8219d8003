package main

import (
	"context"
	"debug/buildinfo"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"time"

	"github.com/atlas-relay/atlas-relay/e2e/harness"
	"github.com/atlas-relay/atlas-relay/e2e/traffic"
)

// results are what the steps measured. Rates are changes per second, memory is in bytes.
type results struct {
	capture, cursor, chain float64
	apply, transactions    float64

	asChain, inBatches, replicated float64 // capture in each publish mode

	// CPU time of the two runs: processor, NATS, target; this program, target.
	applyCPU, transactionsCPU []time.Duration

	replay, replayAway, replayLarge replayed

	full    float64
	fullCPU []time.Duration // CPU time of this program, source, listener, NATS, processor, target

	// CPU time of what each ceiling measured: source writes, cursor, NATS, each with this program.
	writesCPU, cursorCPU, chainCPU time.Duration
	followedCPU                    time.Duration // of source writes with a cursor that follows them

	cpu    map[string]time.Duration
	memory map[string]int64

	latency traffic.Latency
	legs    legs
	idle    float64 // share of one core

	largeTook   time.Duration
	largeMemory map[string]int64

	largeInto, largeCursor time.Duration // into the stream, and by a bare cursor

	near, one, several float64 // one processor, one behind a slow network, several there
	failing            []failingRound
	even, hot          float64

	acted map[string]acted // on dead letters, by what was done to them

	undisturbed, join, leave, takeOver time.Duration // for which a partition stood still

	failovers failovers
	schema    schemaChanges

	listenerStart, processorStart time.Duration // until at work, with a large backlog

	ours, theirs []pace // of this tree and of another revision, in turn

	verified, verifiedLarge verified

	statistics statistics
	noticed    map[string]noticed // by who ended, and how
}

// perDocuments writes the terms and their sum, per 100 000 changes.
func (b *bench) perDocuments(terms []time.Duration) string {
	texts := make([]string, len(terms))
	for i, term := range terms {
		texts[i] = fmt.Sprintf("%.2f", per100k(term, b.cfg.Changes).Seconds())
	}

	return strings.Join(texts, " + ") + " s"
}

// per100k is what 100 000 of these changes took.
func per100k(spent time.Duration, changes int) time.Duration {
	return time.Duration(float64(spent) / float64(changes) * 100_000)
}

func sum(terms []time.Duration) (total time.Duration) {
	for _, term := range terms {
		total += term
	}

	return total
}

func times(ratio float64) string    { return fmt.Sprintf("%.2f", ratio) }
func rate(perSecond float64) string { return fmt.Sprintf("%.0f /s", perSecond) }
func share(of float64) string       { return fmt.Sprintf("%.1f %%", of*100) }
func seconds(d time.Duration) string {
	return fmt.Sprintf("%.2f s", d.Seconds())
}

func milliseconds(d time.Duration) string {
	return fmt.Sprintf("%.1f ms", float64(d.Microseconds())/1000)
}
func megabytes(perSecond float64) string { return fmt.Sprintf("%.0f MB/s", perSecond) }
func mebibytes(n int64) string           { return fmt.Sprintf("%.0f MiB", float64(n)/(1<<20)) }

// publish prints the table and puts it into the file between its markers; what people wrote around it stays.
func (b *bench) publish(ctx context.Context) error {
	text := b.table()
	b.linef("\n%s", text)

	if b.cfg.Only != "" {
		return nil
	}

	root, err := harness.Root(ctx)
	if err != nil {
		return err
	}

	path := filepath.Join(root, "e2e", "BENCHMARKS.md")

	present, err := os.ReadFile(path)
	if err != nil {
		return fmt.Errorf("read the file of results: %w", err)
	}

	const begin, end = "<!-- results: written by make bench -->\n", "<!-- results: end -->\n"

	before, rest, found := strings.Cut(string(present), begin)
	_, after, closed := strings.Cut(rest, end)

	if !found || !closed {
		return errors.New(path + " has no place for the results")
	}

	if err := os.WriteFile(path, []byte(before+begin+text+end+after), 0o600); err != nil {
		return fmt.Errorf("write the results: %w", err)
	}

	return nil
}

func (b *bench) table() string {
	var text strings.Builder

	fmt.Fprintf(&text, "%d changes of %d bytes, latency at %d/s, %d documents of 16 MiB; %s.\n",
		b.cfg.Changes, b.cfg.Size, b.cfg.Rate, b.cfg.Large, time.Now().UTC().Format(time.DateOnly))
	fmt.Fprintf(&text, "%s; %d cores, %s, %s, MongoDB: %s, nats-server %s.\n\n",
		cpuModel(), runtime.NumCPU(), memory(), runtime.Version(), b.choice.Flavor, b.natsVersion())
	text.WriteString("| | measured | to reach | |\n|---|---:|---:|---|\n")

	for _, r := range b.rows() {
		verdict := ""

		switch {
		case r.goal != "" && r.reached:
			verdict = "reached"
		case r.goal != "":
			verdict = "missed"
		}

		fmt.Fprintf(&text, "| %s | %s | %s | %s |\n", r.what, r.measured, r.goal, verdict)
	}

	return text.String()
}

// natsVersion is that of the server inside the built program.
func (b *bench) natsVersion() string {
	info, err := buildinfo.ReadFile(b.programs.Path(harness.NATSD))
	if err != nil {
		return "unknown"
	}

	for _, m := range info.Deps {
		if m.Path == "github.com/nats-io/nats-server/v2" {
			return m.Version
		}
	}

	return "unknown"
}

func cpuModel() string { return procField("/proc/cpuinfo", "model name", runtime.GOARCH) }

func memory() string {
	var kib int64

	if _, err := fmt.Sscanf(procField("/proc/meminfo", "MemTotal", ""), "%d kB", &kib); err != nil {
		return "memory unknown"
	}

	return fmt.Sprintf("%.0f GiB", float64(kib)/(1<<20))
}

// procField finds the first line "name : value" of a file under /proc.
func procField(path, name, otherwise string) string {
	content, err := os.ReadFile(path)
	if err != nil {
		return otherwise
	}

	for line := range strings.Lines(string(content)) {
		if key, value, found := strings.Cut(line, ":"); found && strings.TrimSpace(key) == name {
			return strings.TrimSpace(value)
		}
	}

	return otherwise
}

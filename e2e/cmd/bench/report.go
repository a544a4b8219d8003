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

	full float64

	cpuPer100k time.Duration // listener, processor and NATS together
	cpu        map[string]time.Duration
	memory     map[string]int64

	floor, latency traffic.Latency
	idle           float64 // share of one core

	largeTook   time.Duration
	largeMemory map[string]int64

	near, one, several float64 // one processor, one behind a slow network, several there
	healthy            float64
	unlike, alike      float64 // with documents that fail: those that look different from the others, and those that do not
	parkedMemory       int64   // of the processor with failing documents
	even, hot          float64

	undisturbed, join, leave, takeOver time.Duration // for which a partition stood still

	failovers failovers

	verified, verifiedLarge verified
}

// Goals, in the units of the results.
const (
	captureGoal     = 0.70 // of the combined ceiling
	applyGoal       = 0.85 // of the bare driver
	p50Goal         = 8 * time.Millisecond
	p99Goal         = 30 * time.Millisecond
	cpuGoal         = 8 * time.Second // per 100 000 changes
	memoryGoal      = 150 << 20
	largeMemoryGoal = 400 << 20
	idleGoal        = 0.02 // of one core

	severalGoal  = 3.2  // times the rate of one
	failingGoal  = 0.85 // of the rate without
	hotGoal      = 0.60 // of the even rate
	parkedGoal   = (256 + 100) << 20
	cleanGoal    = time.Second
	handOverGoal = 500 * time.Millisecond
	verifyGoal   = 50_000 // documents per second
	verifyMemory = 100 << 20
	takeOverGoal = 5*time.Second + time.Second // LEASE_TTL and one
)

// row is a line of the table.
type row struct {
	what, measured, goal string
	reached              bool
}

func (b *bench) rows() []row {
	r := &b.results
	combined := 1 / (1/r.cursor + 1/r.chain)

	rows := []row{
		{"capture: a listener alone", rate(r.capture), "", true},
		{"— ceiling: reading that cursor", rate(r.cursor), "", true},
		{"— ceiling: publishing that chain", rate(r.chain), "", true},
		{"— of the combined ceiling 1/(1/cursor + 1/chain)", share(r.capture / combined), "≥ " + share(captureGoal), r.capture/combined >= captureGoal},
		{"apply: a processor alone", rate(r.apply), "", true},
		{"— ceiling: the same transactions by the bare driver", rate(r.transactions), "", true},
		{"— of the ceiling", share(r.apply / r.transactions), "≥ " + share(applyGoal), r.apply/r.transactions >= applyGoal},
		{"— CPU per 100 000 documents: processor + NATS + target", b.perDocuments(r.applyCPU), "", true},
		{"— CPU of the ceiling: driver + target", b.perDocuments(r.transactionsCPU), "", true},
		{"— of the ceiling, if nothing but CPU time counted", share(float64(sum(r.transactionsCPU)) / float64(sum(r.applyCPU))), "", true},
		{"end to end at full speed", rate(r.full), "", true},
		{"latency p50", milliseconds(r.latency.P50), "≤ " + milliseconds(p50Goal), r.latency.P50 <= p50Goal},
		{"latency p99", milliseconds(r.latency.P99), "≤ " + milliseconds(p99Goal), r.latency.P99 <= p99Goal},
		{"latency max", milliseconds(r.latency.Max), "", true},
		{"— floor: a change stream of the source itself, p50 / p99", milliseconds(r.floor.P50) + " / " + milliseconds(r.floor.P99), "", true},
		{"CPU per 100 000 changes: listener, processor, NATS", seconds(r.cpuPer100k), "≤ " + seconds(cpuGoal), r.cpuPer100k <= cpuGoal},
		{"idle: listener, processor, stats, of one core", share(r.idle), "≤ " + share(idleGoal), r.idle <= idleGoal},
	}

	for _, name := range []string{harness.Listener, harness.Processor, harness.Stats} {
		rows = append(rows, row{
			"peak memory at full speed: " + name, mebibytes(r.memory[name]), "≤ " + mebibytes(memoryGoal), r.memory[name] <= memoryGoal,
		})
	}

	for _, name := range []string{harness.Listener, harness.Processor} {
		rows = append(rows, row{
			"peak memory with documents of 16 MiB: " + name, mebibytes(r.largeMemory[name]), "≤ " + mebibytes(largeMemoryGoal), r.largeMemory[name] <= largeMemoryGoal,
		})
	}

	rows = append(rows, row{"documents of 16 MiB", fmt.Sprintf("%.1f /s", perSecond(b.cfg.Large, r.largeTook)), "", true})

	rows = append(rows, r.publishRows()...)
	rows = append(rows, b.processorRows()...)
	rows = append(rows, b.failoverRows()...)
	rows = append(rows, r.verifyRows()...)

	for _, name := range []string{harness.Listener, harness.Processor, harness.Stats, "nats"} {
		rows = append(rows, row{"CPU of the capture, apply and full-speed runs: " + name, seconds(r.cpu[name]), "", true})
	}

	return rows
}

// processorRows are those of several processors and of documents that fail.
func (b *bench) processorRows() []row {
	r := &b.results
	slow := fmt.Sprintf("%d ms away, one batch at a time", 2*oneWay.Milliseconds())

	return []row{
		{"one processor, one batch at a time", rate(r.near), "", true},
		{"— the target " + slow, rate(r.one), "", true},
		{fmt.Sprintf("— %d processors there", several), rate(r.several), "", true},
		{"— times the rate of one", fmt.Sprintf("%.2f", r.several/r.one), fmt.Sprintf("≥ %.1f", severalGoal), r.several/r.one >= severalGoal},
		{"a validator that all documents pass", rate(r.healthy), "", true},
		{fmt.Sprintf("— 1 of %d fails, of another type: rate of the others", failingOf), rate(r.unlike), "", true},
		{"— of the rate without", share(r.unlike / r.healthy), "≥ " + share(failingGoal), r.unlike/r.healthy >= failingGoal},
		{fmt.Sprintf("— 1 of %d fails, only for a value: rate of the others", failingOf), rate(r.alike), "", true},
		{"— of the rate without", share(r.alike / r.healthy), "≥ " + share(failingGoal), r.alike/r.healthy >= failingGoal},
		{"— peak memory: processor", mebibytes(r.parkedMemory), "≤ " + mebibytes(parkedGoal), r.parkedMemory <= parkedGoal},
		{"updates of all documents alike", rate(r.even), "", true},
		{"— half of them of one document", rate(r.hot), "", true},
		{"— of the even rate", share(r.hot / r.even), "≥ " + share(hotGoal), r.hot/r.even >= hotGoal},
		{"longest standstill of a partition, undisturbed", milliseconds(r.undisturbed), "", true},
		{"— a processor joins", milliseconds(r.join), "≤ " + milliseconds(cleanGoal), r.join <= cleanGoal},
		{"— one leaves in order", milliseconds(r.leave), "≤ " + milliseconds(cleanGoal), r.leave <= cleanGoal},
		{"— one is killed (LEASE_TTL 5 s)", milliseconds(r.takeOver), "≤ " + milliseconds(takeOverGoal), r.takeOver <= takeOverGoal},
	}
}

// perDocuments writes the terms and their sum, per 100 000 changes.
func (b *bench) perDocuments(terms []time.Duration) string {
	texts := make([]string, len(terms))
	for i, term := range terms {
		texts[i] = fmt.Sprintf("%.2f", term.Seconds()/float64(b.cfg.Changes)*100_000)
	}

	return strings.Join(texts, " + ") + " s"
}

func sum(terms []time.Duration) (total time.Duration) {
	for _, term := range terms {
		total += term
	}

	return total
}

func rate(perSecond float64) string { return fmt.Sprintf("%.0f /s", perSecond) }
func share(of float64) string       { return fmt.Sprintf("%.1f %%", of*100) }
func seconds(d time.Duration) string {
	return fmt.Sprintf("%.2f s", d.Seconds())
}

func milliseconds(d time.Duration) string {
	return fmt.Sprintf("%.1f ms", float64(d.Microseconds())/1000)
}
func mebibytes(n int64) string { return fmt.Sprintf("%.0f MiB", float64(n)/(1<<20)) }

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

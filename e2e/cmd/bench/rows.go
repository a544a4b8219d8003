package main

import (
	"fmt"
	"runtime"
	"time"

	"github.com/atlas-relay/atlas-relay/e2e/harness"
	"github.com/atlas-relay/atlas-relay/e2e/traffic"
)

// Goals, in the units of the results.
const (
	captureGoal     = 0.70     // of the combined ceiling
	applyGoal       = 0.85     // of the bare driver
	replayGoal      = 14_400.0 // changes per second: what the fastest comparable tool reaches on two cores
	flatGoal        = 1.10     // of the cost with the smaller backlog
	fullGoal        = 0.80     // of the combined ceiling
	p50Goal         = 4 * time.Millisecond
	p99Goal         = 12 * time.Millisecond
	cpuGoal         = 6500 * time.Millisecond // per 100 000 changes
	memoryGoal      = 150 << 20
	largeMemoryGoal = 400 << 20
	idleGoal        = 0.02 // of one core

	severalGoal  = 3.2  // times the rate of one
	failingGoal  = 0.85 // of the rate without
	hotGoal      = 0.60 // of the even rate
	parkedGoal   = (256 + 100) << 20
	cleanGoal    = time.Second
	handOverGoal = 500 * time.Millisecond
	takeOverGoal = 5*time.Second + time.Second // LEASE_TTL and one
	pauseGoal    = 50 * time.Millisecond       // and the command's own time
	inARowGoal   = 60 * time.Second
	verifyGoal   = 50_000.0 // documents per second
	verifyMemory = 100 << 20
	restartGoal  = 3 * time.Second
	againstGoal  = 0.95 // of the other revision
	takenUpGoal  = 30 * time.Second
	intoGoal     = 60.0 // MB/s of large documents into the stream

	watchedGoal = 0.98 // of the rate while nobody looks
	lookingGoal = 0.02 // of one core
	statusGoal  = 300 * time.Millisecond
	usableGoal  = time.Second
	actGoal     = 100 * time.Millisecond
)

// row is a line of the table.
type row struct {
	what, measured, goal string
	reached              bool
}

// below is a row of what should be little, above one of what should be much.
func below[N int64 | float64 | time.Duration](what string, measured, goal N, unit func(N) string) row {
	return row{what, unit(measured), "≤ " + unit(goal), measured <= goal}
}

func above(what string, measured, goal float64, unit func(float64) string) row {
	return row{what, unit(measured), "≥ " + unit(goal), measured >= goal}
}

// plain is a row without a goal.
func plain(what, measured string) row { return row{what: what, measured: measured} }

// rows are those of the steps that were run, in their order.
func (b *bench) rows() []row {
	var rows []row

	for _, s := range b.steps() {
		if b.ran[s.name] && s.rows != nil {
			rows = append(rows, s.rows()...)
		}
	}

	return rows
}

func (b *bench) captureRows() []row {
	r := &b.results

	return []row{plain("capture: a listener alone", rate(r.capture))}
}

func (b *bench) cursorRows() []row {
	r := &b.results

	return []row{plain("— ceiling: reading that cursor", rate(r.cursor))}
}

func (b *bench) chainRows() []row {
	r := &b.results

	combined := 1 / (1/r.cursor + 1/r.chain)

	return []row{
		plain("— ceiling: publishing that chain", rate(r.chain)),
		above("— of the combined ceiling 1/(1/cursor + 1/chain)", r.capture/combined, captureGoal, share),
	}
}

func (b *bench) applyRows() []row {
	r := &b.results

	return []row{
		plain("apply: a processor alone", rate(r.apply)),
		plain("— CPU per 100 000 documents: processor + NATS + target", b.perDocuments(r.applyCPU)),
	}
}

func (b *bench) transactionRows() []row {
	r := &b.results

	return []row{
		plain("— ceiling: the same transactions by the bare driver", rate(r.transactions)),
		above("— of the ceiling", r.apply/r.transactions, applyGoal, share),
		plain("— CPU of the ceiling: driver + target", b.perDocuments(r.transactionsCPU)),
		plain("— of the ceiling, if nothing but CPU time counted", share(float64(sum(r.transactionsCPU))/float64(sum(r.applyCPU)))),
	}
}

func (b *bench) followedRows() []row {
	return []row{plain("source writes followed by a cursor, CPU per 100 000 changes", seconds(per100k(b.results.followedCPU, b.cfg.Changes)))}
}

func (b *bench) fullRows() []row {
	r := &b.results
	alone := []time.Duration{r.writesCPU, r.cursorCPU, r.chainCPU, sum(r.transactionsCPU)}

	rows := []row{
		plain("end to end at full speed", rate(r.full)),
		plain("— CPU per 100 000 changes: writer + source + listener + NATS + processor + target", b.perDocuments(r.fullCPU)),
		plain("— ceiling, CPU per 100 000 changes: source writes + cursor + NATS + target transactions", b.perDocuments(alone)),
		above("— of that on all cores", r.full*sum(alone).Seconds()/float64(b.cfg.Changes)/float64(runtime.NumCPU()), fullGoal, share),
		below("CPU per 100 000 changes: listener, processor, NATS", per100k(sum(r.fullCPU[2:5]), b.cfg.Changes), cpuGoal, seconds),
	}

	for _, name := range []string{harness.Listener, harness.Processor, harness.Stats} {
		rows = append(rows, below("peak memory at full speed: "+name, r.memory[name], memoryGoal, mebibytes))
	}

	for _, name := range []string{harness.Listener, harness.Processor, harness.Stats, "nats"} {
		rows = append(rows, plain("CPU of the capture, apply and full-speed runs: "+name, seconds(r.cpu[name])))
	}

	return rows
}

func (b *bench) latencyRows() []row {
	l := &b.results.latency

	rows := []row{
		below("latency p50", l.P50, p50Goal, milliseconds),
		below("latency p99", l.P99, p99Goal, milliseconds),
		plain("latency max", milliseconds(l.Max)),
	}

	leg := func(name string, l traffic.Latency) row {
		return plain("— "+name+", p50 / p99", milliseconds(l.P50)+" / "+milliseconds(l.P99))
	}

	return append(rows,
		leg("a bare change stream of the source", b.results.legs.stream),
		leg("a message through NATS alone", b.results.legs.message),
		leg("a transaction of one document and a checkpoint", b.results.legs.transaction))
}

func (b *bench) idleRows() []row {
	r := &b.results

	return []row{below("idle: listener, processor, stats, of one core", r.idle, idleGoal, share)}
}

func (b *bench) largeRows() []row {
	r := &b.results

	rows := []row{plain("documents of 16 MiB, one after the other", fmt.Sprintf("%.1f /s", perSecond(b.cfg.Large, r.largeTook)))}
	for _, name := range []string{harness.Listener, harness.Processor} {
		rows = append(rows, below("— peak memory: "+name, r.largeMemory[name], largeMemoryGoal, mebibytes))
	}

	return rows
}

func (b *bench) largeCaptureRows() []row {
	r := &b.results

	speed := func(took time.Duration) float64 { return perSecond(b.cfg.Large*largest, took) / 1e6 }

	return []row{
		above("documents of 16 MiB into the stream, a listener alone", speed(r.largeInto), intoGoal, megabytes),
		plain("— writing them and reading that cursor, without the relay", megabytes(speed(r.largeCursor))),
	}
}

func (b *bench) publishRows() []row {
	r := &b.results

	return []row{
		plain("capture once more: the same backlog as a chain", rate(r.asChain)),
		plain("— in atomic batches", rate(r.inBatches)),
		plain("— of the chain", share(r.inBatches/r.asChain)),
		plain("— in atomic batches, three replicas on three servers", rate(r.replicated)),
		plain("— of the chain", share(r.replicated/r.asChain)),
	}
}

func (b *bench) scalingRows() []row {
	r := &b.results

	return []row{
		plain("one processor, one batch at a time", rate(r.near)),
		plain(fmt.Sprintf("— the target %d ms away, one batch at a time", 2*oneWay.Milliseconds()), rate(r.one)),
		plain(fmt.Sprintf("— %d processors there", several), rate(r.several)),
		above("— times the rate of one", r.several/r.one, severalGoal, times),
	}
}

func (b *bench) deadLetterRows() []row {
	var rows []row

	for _, verb := range letterVerbs() {
		a := b.results.acted[verb]
		rows = append(rows,
			below(fmt.Sprintf("%d dead letters, a %s of all that match: taken up", letters, verb), a.takenUp, takenUpGoal, seconds),
			plain("— until nothing of it was under way any more", seconds(a.done)))
	}

	return rows
}

func (b *bench) hotRows() []row {
	r := &b.results

	return []row{
		plain("updates of all documents alike", rate(r.even)),
		plain("— half of them of one document", rate(r.hot)),
		above("— of the even rate", r.hot/r.even, hotGoal, share),
	}
}

func (b *bench) handoverRows() []row {
	r := &b.results

	return []row{
		plain("longest standstill of a partition, undisturbed", milliseconds(r.undisturbed)),
		below("— a processor joins", r.join, cleanGoal, milliseconds),
		below("— one leaves in order", r.leave, cleanGoal, milliseconds),
		below("— one is killed (LEASE_TTL 5 s)", r.takeOver, takeOverGoal, milliseconds),
	}
}

func (b *bench) failoverRows() []row {
	f := &b.results.failovers

	return []row{
		plain("longest gap in publishing, undisturbed", milliseconds(f.undisturbed)),
		below("— the active listener stops in order", f.stopped, handOverGoal, milliseconds),
		below("— it is killed (LEASE_TTL 5 s)", f.killed, takeOverGoal, milliseconds),
		below("— it is frozen", f.frozen, takeOverGoal, milliseconds),
		below("— it is cut off from NATS, half-open", f.cutOff, takeOverGoal, milliseconds),
	}
}

func (b *bench) schemaRows() []row {
	s := &b.results.schema

	return []row{
		plain("longest time in which no partition moved, undisturbed, median of windows of "+aWindow.String(), milliseconds(s.undisturbed)),
		below("— a schema change in each window: longer by", s.disturbed-s.undisturbed, pauseGoal+s.command, milliseconds),
		plain("— the longest of all windows", milliseconds(s.slowest)),
		plain("— the command on the target alone, median", milliseconds(s.command)),
		below(fmt.Sprintf("%d schema changes in a row, 16 partitions, %d processors", changesInARow, sharing), s.inARow, inARowGoal, seconds),
		plain("— until the source had made them", seconds(s.written)),
	}
}

func (b *bench) restartRows() []row {
	r := &b.results

	return []row{
		below(fmt.Sprintf("%d messages in the stream: from a listener's start to its first change stored", b.cfg.Backlog), r.listenerStart, restartGoal, milliseconds),
		below("— from a processor's start to its first batch committed", r.processorStart, restartGoal, milliseconds),
	}
}

func (b *bench) verifyRows() []row {
	small, large := b.results.verified, b.results.verifiedLarge

	return []row{
		above("verify: documents compared", small.rate, verifyGoal, rate),
		below("— peak memory", small.memory, verifyMemory, mebibytes),
		plain("— documents of 16 MiB", fmt.Sprintf("%.1f /s", large.rate)),
		below("— peak memory then", large.memory, verifyMemory, mebibytes),
	}
}

func (b *bench) watchedRows() []row {
	s := &b.results.statistics
	mean, deviation, cpu := s.ratio()

	return []row{
		above(fmt.Sprintf("apply while %d pages and a scrape a second look at it, of the rate without statistics, mean of %d pairs of windows",
			pages, len(s.alone)), mean, watchedGoal, share),
		plain("— standard error of this mean", share(deviation)),
		plain("— CPU time per change, with that of the statistics", share(cpu)),
	}
}

func (b *bench) largeFlowRows() []row {
	s := &b.results.statistics

	rows := []row{
		below(fmt.Sprintf("statistics of %d partitions and %d instances, %d pages open, of one core", largePartitions, largeInstances, pages),
			s.quiet, lookingGoal, share),
		plain(fmt.Sprintf("— while %d changes/s come in", b.cfg.Rate), share(s.moving)),
		below(fmt.Sprintf("— relayctl status, median of %d", asks), s.status, statusGoal, milliseconds),
	}

	if s.page.usable == 0 {
		return rows
	}

	return append(rows,
		below("— the page: from its first byte to its figures, median", s.page.usable, usableGoal, milliseconds),
		below("— from a key or click to the picture after it, median", s.page.act, actGoal, milliseconds))
}

func (b *bench) againstRows() []row {
	r := &b.results

	if len(r.theirs) == 0 {
		return nil
	}

	ratio := func(of func(pace) float64) float64 { return medianRatio(r.ours, r.theirs, of) }

	return []row{
		above(fmt.Sprintf("capture, of that of %s, median of %d pairs", b.cfg.Against, pairs), ratio(func(p pace) float64 { return p.capture }), againstGoal, share),
		plain("— CPU time of the listener", share(ratio(func(p pace) float64 { return p.listener }))),
		above("— apply", ratio(func(p pace) float64 { return p.apply }), againstGoal, share),
		plain("— CPU time of the processor", share(ratio(func(p pace) float64 { return p.processor }))),
	}
}

package main

import (
	"fmt"
	"io"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/jedib0t/go-pretty/v6/text"

	"github.com/atlas-relay/atlas-relay/e2e/harness"
	"github.com/atlas-relay/atlas-relay/e2e/verify/live"
	relayv1 "github.com/atlas-relay/atlas-relay/proto/relay/v1"
)

// printer is what the person at the terminal reads. Its methods may be called from any goroutine.
type printer struct {
	mu      sync.Mutex
	out     io.Writer
	samples int
	reasons string // last printed
}

func newPrinter(out io.Writer) *printer { return &printer{out: out} }

// Write passes on what an installation tells.
func (p *printer) Write(text []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()

	return p.out.Write(text)
}

// Linef prints one line.
func (p *printer) Linef(format string, args ...any) {
	_, _ = fmt.Fprintf(p, format+"\n", args...)
}

// Processes says what runs where, so that it can be looked at and killed.
func (p *printer) Processes(d *demo) {
	p.Linef("")
	p.Linef("  source      %s", d.world.Source.URI)
	p.Linef("  target      %s", d.world.Target.URI)
	p.Linef("  NATS        %s  pid %d", d.world.NATS.URL(), d.world.NATS.Process().PID())

	for _, s := range d.relay.Services() {
		where := ""
		if s == d.relay.Stats {
			where = "  page " + d.relay.PageURL() + "  gRPC " + d.relay.GRPCAddr()
		}

		p.Linef("  %-11s pid %d%s", s.Name, s.Process().PID(), where)
	}

	p.Linef("  logs        %s", d.world.LogFiles())
	p.Linef("  seed        %d (DEMO_SEED)", d.seed)
	p.Linef("")
	p.Linef("Kill any service with kill -9 <pid> while this runs: it is started again, and the outcome is the same.")
}

// headerEvery is after how many samples the names of the columns are repeated.
const headerEvery = 20

// Sample prints the line of a second. Rates are over the time since the sample before.
func (p *printer) Sample(at time.Duration, now, before *relayv1.Stats, since time.Duration) {
	if p.samples%headerEvery == 0 {
		p.Linef("\n%6s  %8s  %8s  %8s  %9s  %8s  %s", "second", "in/s", "out/s", "pending", "lag", "batches", "status")
	}

	p.samples++

	p.Linef("%6.0f  %8s  %8s  %8s  %9s  %8s  %s", at.Seconds(),
		perSecond(now.TotalChanges, before.TotalChanges, since), perSecond(now.ProcessedChanges, before.ProcessedChanges, since),
		known(now.PendingChanges), lag(now), known(now.BatchesProcessed), status(now))

	if reasons := strings.Join(now.GetReasons(), "\n        "); reasons != p.reasons {
		p.reasons = reasons

		if reasons != "" {
			p.Linef("        %s", reasons)
		}
	}
}

// unknown is what a figure says that the sample does not know.
const unknown = "?"

func known(n *uint64) string {
	if n == nil {
		return unknown
	}

	return strconv.FormatUint(*n, 10)
}

func perSecond(now, before *uint64, since time.Duration) string {
	if now == nil || before == nil {
		return unknown
	}

	return fmt.Sprintf("%.0f", float64(*now-*before)/since.Seconds())
}

func lag(s *relayv1.Stats) string {
	if s.GetLag() == nil {
		return unknown
	}

	return s.GetLag().AsDuration().Round(time.Millisecond).String()
}

func status(s *relayv1.Stats) string { return strings.TrimPrefix(s.GetStatus().String(), "STATUS_") }

// Death says that a service ended and runs again.
func (p *printer) Death(d harness.Death) {
	p.Linef("%s (pid %d) ended: %s; started again as pid %d", d.Service.Name, d.PID, d.How, d.NewPID)
}

// Table sums the run up.
func (p *printer) Table(d *demo, sample *relayv1.Stats) {
	journal := d.traffic.Journal()
	changes, latency := journal.Changes(), journal.Latency()
	took := d.ended.Sub(d.began)

	t := table.NewWriter()
	t.SetStyle(table.StyleLight)
	t.Style().Format.Header = text.FormatDefault
	t.SetColumnConfigs([]table.ColumnConfig{{Number: 2, Align: text.AlignRight}, {Number: 3, Align: text.AlignRight}})

	t.AppendRow(table.Row{"changes", changes, fmt.Sprintf("%.0f/s", float64(changes)/took.Seconds())})
	t.AppendRow(table.Row{"transactions on the target", sample.GetBatchesProcessed(), ""})
	t.AppendRow(table.Row{"latency p50", "", milliseconds(latency.P50)})
	t.AppendRow(table.Row{"latency p99", "", milliseconds(latency.P99)})
	t.AppendSeparator()
	t.AppendRow(table.Row{"", "CPU", "peak memory"})
	t.AppendSeparator()

	for _, s := range append(d.relay.Services(), d.world.NATS.Service) {
		usage := s.Usage()
		t.AppendRow(table.Row{s.Name, fmt.Sprintf("%.1f s", usage.CPU.Seconds()), fmt.Sprintf("%.0f MiB", float64(usage.PeakMemory)/(1<<20))})
	}

	p.Linef("\n%s", t.Render())
	p.Linef("latency: from the acknowledgement of a write by the source to its event in a change stream of the target")
	p.Linef("counters: total %d = processed %d + failed %d + skipped %d + pending %d; the source acknowledged %d changes",
		sample.GetTotalChanges(), sample.GetProcessedChanges(), sample.GetFailedChanges(), sample.GetSkippedChanges(),
		sample.GetPendingChanges(), changes)
}

func milliseconds(d time.Duration) string {
	return fmt.Sprintf("%.1f ms", float64(d.Microseconds())/1000)
}

// Differences prints the first documents that differ and returns an error that counts them; nil when there are none.
func (p *printer) Differences(c *live.Comparison) error {
	if c.Equal() {
		return nil
	}

	for _, difference := range c.Differences {
		p.Linef("%s", difference)
	}

	return fmt.Errorf("source and target differ in %d documents; the first %d are above", c.Different, len(c.Differences))
}

// Definitions prints what the collections and indexes of both sides differ in and returns an error that counts it.
func (p *printer) Definitions(differences []string) error {
	if len(differences) == 0 {
		return nil
	}

	for _, difference := range differences {
		p.Linef("%s", difference)
	}

	return fmt.Errorf("source and target differ in %d definitions of collections and indexes", len(differences))
}

// Verdict is the end of a run in which everything held.
func (p *printer) Verdict(d *demo, c *live.Comparison, events int) {
	p.Linef("\nsource and target are equal: %d documents in %d collections, %.1f MB compared byte by byte", c.Documents, c.Collections, float64(c.Bytes)/1e6)
	p.Linef("")
	p.Linef("What this showed: every change of the source was captured into JetStream and applied to the target in")
	p.Linef("transactions with its checkpoint. The target's own change stream had %d writes; the version of every", events)
	p.Linef("document only grew: none came twice, none out of order. The counters add up exactly.")

	if d.schema > 0 {
		p.Linef("Collections and indexes were made, renamed, changed and dropped amid the traffic: their definitions are equal, too.")
	}

	if d.cfg.Chaos {
		p.Linef("All of that with %s of processors meanwhile.", d.hits)
	}

	if d.given() {
		p.Linef("The database %s stays on both sides; the flow and its checkpoints are removed.", database)
	}

	p.Linef("\nTry next:")
	p.Linef("  make demo PROCESSORS=3 DEMO_CHAOS=1        processors are killed, frozen, added and removed by themselves")
	p.Linef("  make demo DEMO_TWO_WAY=1                   a flow in each direction, people write to both databases")
	p.Linef("  make demo DEMO_KEEP=1                      leaves it running to look around with relayctl and mongosh")
	p.Linef("  make bench                                 speed and memory beside the ceilings of this machine")
}

// Keeping says how to look around.
func (p *printer) Keeping(d *demo) {
	p.Linef("\nEverything is still running; Ctrl-C ends it.")
	p.Linef("  %s status --server %s", d.programs.Path(harness.Relayctl), d.relay.GRPCAddr())
	p.Linef("  %s stats --watch --server %s", d.programs.Path(harness.Relayctl), d.relay.GRPCAddr())

	if uri := d.world.Source.URI; !d.given() {
		p.Linef("  mongosh '%s'   writes here show up at '%s'; only the database %s is replicated", uri, d.world.Target.URI, database)
	}
}

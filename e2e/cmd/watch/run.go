package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/chromedp/chromedp"

	"github.com/atlas-relay/atlas-relay/e2e/diary"
	"github.com/atlas-relay/atlas-relay/e2e/harness"
	"github.com/atlas-relay/atlas-relay/e2e/views"
	"github.com/atlas-relay/atlas-relay/pkg/settings"
)

const (
	lookEvery   = 500 * time.Millisecond
	scrapeEvery = 900 * time.Millisecond // not that of the page, so that both have the same sample now and then
	patience    = 2 * time.Minute        // of anything that is waited for
)

// run makes all runs, each on its own.
func run(ctx context.Context, cfg *Config, out io.Writer) (err error) {
	root, err := harness.Root(ctx)
	if err != nil {
		return err
	}

	prometheus, err := harness.FindPrometheus(ctx, out)
	if err != nil {
		return err
	}

	dir, err := os.MkdirTemp("", "atlas-relay-watch-*")
	if err != nil {
		return fmt.Errorf("make a temporary directory: %w", err)
	}

	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()

	demo := filepath.Join(dir, "demo")
	build := exec.CommandContext(ctx, "go", "build", "-o", demo, "./e2e/cmd/demo")
	build.Dir = root

	if text, err := build.CombinedOutput(); err != nil {
		return fmt.Errorf("build the demo: %w\n%s", err, text)
	}

	seed := cfg.Seed
	if seed == 0 {
		seed = rand.Uint64N(1_000_000) //nolint:mnd // as that of the demo
	}

	var broken []error

	for i := range cfg.Runs {
		w := &watch{cfg: cfg, out: out, seed: seed + uint64(i), demo: demo, prometheusPath: prometheus}

		w.dir = filepath.Join(dir, strconv.Itoa(i))
		if cfg.Dir != "" {
			w.dir = filepath.Join(cfg.Dir, strconv.FormatUint(w.seed, 10))
		}

		if err := w.run(ctx); err != nil {
			broken = append(broken, fmt.Errorf("DEMO_SEED=%d: %w", w.seed, err))
		}

		if ctx.Err() != nil {
			break
		}
	}

	return errors.Join(broken...)
}

// watch is one run of the demo, and all that looks at it.
type watch struct {
	cfg            *Config
	out            io.Writer
	seed           uint64
	dir            string
	demo           string // path of the program
	prometheusPath string

	prometheus *harness.Prometheus
	tab        context.Context //nolint:containedctx // chromedp keeps the tab in it
	views      *views.Views    // nil until the flow runs
	began      time.Time
	ledger     ledger
}

func (w *watch) run(ctx context.Context) (err error) {
	if err := os.MkdirAll(filepath.Join(w.dir, "browser"), 0o755); err != nil {
		return fmt.Errorf("make a directory for the run: %w", err)
	}

	if w.prometheus, err = harness.StartPrometheus(ctx, w.prometheusPath, w.dir, scrapeEvery); err != nil {
		return err
	}

	defer func() { err = errors.Join(err, w.prometheus.Stop(context.WithoutCancel(ctx))) }()

	// The end of the run does not end it: stop does, and waits for it.
	tab, stop, err := harness.OpenTab(context.WithoutCancel(ctx), filepath.Join(w.dir, "browser"))
	if err != nil {
		return err
	}

	defer func() { err = errors.Join(err, stop()) }()

	w.tab = tab

	if err := chromedp.Do(tab, chromedp.Navigate("about:blank")); err != nil {
		return fmt.Errorf("open a browser: %w", err)
	}

	err = w.follow(ctx)
	if w.views == nil {
		return err
	}

	return errors.Join(err, w.judge(context.WithoutCancel(ctx)))
}

// follow runs the demo and looks at it until the demo has judged itself and every view says that all is well.
func (w *watch) follow(ctx context.Context) (err error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()

	path := filepath.Join(w.dir, "diary")

	demo, err := w.start(path)
	if err != nil {
		return err
	}

	go func() {
		select {
		case <-demo.Done(): // nothing more will be told
			cancel()
		case <-ctx.Done():
		}
	}()

	looking := make(chan error, 1)

	err = diary.Follow(ctx, path, func(e diary.Entry) error {
		switch {
		case e.Running != nil:
			return w.look(ctx, e.Running, looking)
		case e.Strike != nil:
			w.ledger.strike(&e, w.views)
		case e.Judged:
			return errJudged
		}

		return nil
	})
	if errors.Is(err, errJudged) {
		err = w.settle(ctx)
	} else if ctx.Err() != nil {
		err = errors.New("the demo ended before its judgement")
	}

	cancel()

	if w.views != nil {
		err = errors.Join(err, <-looking)
	}

	if err = errors.Join(err, demo.Stop(context.WithoutCancel(ctx))); err == nil && demo.ExitCode() != 0 {
		err = fmt.Errorf("the demo ended: %s", demo.How())
	}

	if err != nil {
		text, _ := os.ReadFile(w.log())
		err = fmt.Errorf("%w; what the demo printed ends:\n%s", err, text[max(0, len(text)-lastWords):])
	}

	return err
}

var errJudged = errors.New("the demo has judged itself")

// lastWords is how much of what the demo printed stands with a failure, in bytes.
const lastWords = 4000

// log is where what the demo prints goes.
func (w *watch) log() string { return filepath.Join(w.dir, "demo.log") }

// start starts the demo, which goes on after its judgement.
func (w *watch) start(path string) (*harness.Process, error) {
	env := settings.Environ(os.Environ())
	maps.Copy(env, map[string]string{
		"DEMO_CHAOS": "1", "DEMO_KEEP": "1", "DEMO_DIARY": path, "DEMO_SEED": strconv.FormatUint(w.seed, 10),
		"DEMO_SECONDS": strconv.Itoa(w.cfg.Seconds), "PROCESSORS": strconv.Itoa(w.cfg.Processors),
	})

	return harness.StartProgram(w.demo, env, w.log())
}

// look begins to look at the flow.
func (w *watch) look(ctx context.Context, where *diary.Running, looking chan<- error) error {
	w.began = time.Now()

	if err := w.prometheus.Follow(where.OpsAddr); err != nil {
		return err
	}

	if err := chromedp.Do(w.tab, chromedp.Navigate(where.PageURL)); err != nil { //nolint:contextcheck // the tab's
		return fmt.Errorf("open the page: %w", err)
	}

	w.views = views.New(views.Options{
		Flow: where.Flow, PageURL: where.PageURL, GRPCAddr: where.GRPCAddr, Relayctl: where.Relayctl, Dir: w.dir, Every: lookEvery,
		Evaluate: views.InTab(w.tab, patience), Scrape: w.scrape, //nolint:contextcheck // the tab's
	})

	go func() { looking <- w.views.Run(ctx) }()

	return nil
}

// scrape is what the Prometheus has of the stats service now.
func (w *watch) scrape(ctx context.Context) (views.Series, error) {
	values, err := w.prometheus.Query(ctx, `{job="stats",__name__=~"relay_.+"}`)

	return func(name, label, is string) string {
		i := slices.IndexFunc(values, func(v harness.Value) bool {
			return v.Labels["__name__"] == name && (label == "" || v.Labels[label] == is)
		})
		if i < 0 {
			return views.Unknown
		}

		return strconv.FormatFloat(values[i].Value, 'f', -1, 64)
	}, err
}

// settle waits until every view says that all is well.
func (w *watch) settle(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()

	since := time.Now()

	err := harness.Await(ctx, lookEvery, func(context.Context) (bool, error) {
		return len(w.views.First(since, (*views.Look).IsFine)) == len(views.All()), nil
	})
	if err != nil {
		return fmt.Errorf("not every view says that all is well after the run: %w; the last looks: %v", err, w.views.Last())
	}

	return nil
}

// keep writes down every look, for whoever wants to know why.
func (w *watch) keep() error {
	if w.cfg.Dir == "" {
		return nil
	}

	var text strings.Builder

	encoder := json.NewEncoder(&text)
	for _, l := range w.views.Looks() {
		if err := encoder.Encode(l); err != nil {
			return fmt.Errorf("keep the looks: %w", err)
		}
	}

	if err := os.WriteFile(filepath.Join(w.dir, "looks.jsonl"), []byte(text.String()), 0o600); err != nil {
		return fmt.Errorf("keep the looks: %w", err)
	}

	return nil
}

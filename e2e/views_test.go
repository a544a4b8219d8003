package e2e_test

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"io"
	"maps"
	"math"
	"net/http"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/chromedp/chromedp"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
	"golang.org/x/sync/errgroup"
	"google.golang.org/protobuf/encoding/protojson"

	"github.com/atlas-relay/atlas-relay/e2e/harness"
	relayv1 "github.com/atlas-relay/atlas-relay/proto/relay/v1"
)

// The ways in which a flow can be looked at.
const (
	viewPage   = "page"
	viewEvents = "server-sent events"
	viewJSON   = "JSON"
	viewWatch  = "relayctl stats --watch"
	viewStats  = "relayctl stats"
	viewStatus = "relayctl status"
	viewTop    = "relayctl top"
	viewScrape = "Prometheus"
)

// What a look tells; "unknown" where the view says so.
const (
	factStatus   = "status"
	factAddsUp   = "adds up"
	factReasons  = "reasons"
	factTotal    = "captured"
	factDead     = "dead letters"
	factPending  = "pending"
	factSilent   = "silent instances"
	factPrefixed = "changes " // with the result
)

// cumulative are the facts that never go back.
func cumulative() []string {
	return []string{factTotal, factPrefixed + "processed", factPrefixed + "failed", factPrefixed + "skipped"}
}

const unknown = "unknown"

// sampleTime names a sample, in microseconds: the scrape has it as a float.
type sampleTime int64

func sampleTimeOf(seconds float64) sampleTime { return sampleTime(math.Round(seconds * 1e6)) }

// look is what a view told of one sample.
type look struct {
	view  string
	facts map[string]string
}

// views collects what all of them tell.
type views struct {
	scenario *scenario
	browser  *browser

	mu      sync.Mutex
	looks   map[sampleTime][]look
	screens []sighting // of relayctl top, in order

	records []telling // of what was broken
}

func allViews() []string {
	return []string{viewPage, viewEvents, viewJSON, viewWatch, viewStats, viewStatus, viewTop, viewScrape}
}

func (v *views) add(view string, at sampleTime, facts map[string]string) {
	v.mu.Lock()
	defer v.mu.Unlock()

	// The page is looked at more often than it has something new.
	if slices.ContainsFunc(v.looks[at], func(l look) bool { return l.view == view && maps.Equal(l.facts, facts) }) {
		return
	}

	v.looks[at] = append(v.looks[at], look{view, facts})
}

// addStats adds a sample as relay.v1 has it.
func (v *views) addStats(view string, s *relayv1.Stats) {
	number := func(n *uint64) string {
		if n == nil {
			return unknown
		}

		return strconv.FormatUint(*n, 10)
	}

	// The getters have 0 for what is unknown.
	total, processed, skipped := s.TotalChanges, s.ProcessedChanges, s.SkippedChanges
	facts := map[string]string{
		factStatus: strings.TrimPrefix(s.GetStatus().String(), "STATUS_"), factReasons: strings.Join(s.GetReasons(), "\n"),
		factTotal: number(total), factDead: number(s.DeadLetters), factPending: number(s.PendingChanges), //nolint:protogetter // see above
		factPrefixed + "processed": number(processed), factPrefixed + "failed": number(s.FailedChanges), //nolint:protogetter // see above
		factPrefixed + "skipped": number(skipped), factAddsUp: unknown,
	}
	if silent := silentOf(s); len(s.GetInstances()) > 0 {
		facts[factSilent] = strconv.Itoa(silent)
	}

	if s.AddsUp != nil {
		facts[factAddsUp] = strconv.FormatBool(s.GetAddsUp())
	}

	v.add(view, sampleTimeOf(float64(s.GetSampleTime().AsTime().UnixNano())/1e9), facts)
}

// silentOf is how many instances are named as missed.
func silentOf(s *relayv1.Stats) (silent int) {
	for _, i := range s.GetInstances() {
		if i.GetIsSilent() {
			silent++
		}
	}

	return silent
}

// run looks until ctx ends. A view that does not answer tells nothing.
func (v *views) run(ctx context.Context) error {
	group, ctx := errgroup.WithContext(ctx)
	asked := make(chan struct{}, 1) // a sample has just been taken: who asks now may get that one

	group.Go(func() error { return again(ctx, func() error { return v.readEvents(ctx, asked) }) })
	group.Go(func() error { return again(ctx, func() error { return v.readWatch(ctx) }) })
	group.Go(func() error { return again(ctx, func() error { return v.readPage(ctx) }) })
	group.Go(func() error { return again(ctx, func() error { return v.readTop(ctx) }) })
	group.Go(func() error {
		return again(ctx, func() error {
			select {
			case <-asked:
			case <-ctx.Done():
			}

			return errors.Join(v.readScrape(ctx), v.readJSON(ctx))
		})
	})

	for view, args := range map[string][]string{viewStats: {"stats", "-o", "json"}, viewStatus: {"status", "-o", "json"}} {
		group.Go(func() error { return again(ctx, func() error { return v.readCtl(ctx, view, args...) }) })
	}

	return group.Wait()
}

// again looks again and again; what goes wrong is what an operator sees of a fault.
func again(ctx context.Context, see func() error) error {
	const pause = 200 * time.Millisecond

	for ctx.Err() == nil {
		_ = see()

		timer := time.NewTimer(pause)

		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
		}
	}

	return nil
}

func (v *views) get(ctx context.Context, path string) (*http.Response, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, v.scenario.relay.PageURL()+path, http.NoBody)
	if err != nil {
		return nil, err
	}

	return http.DefaultClient.Do(request)
}

func (v *views) readEvents(ctx context.Context, asked chan<- struct{}) error {
	response, err := v.get(ctx, "v1/flows/test/events")
	if err != nil {
		return err
	}
	defer response.Body.Close()

	lines := bufio.NewReader(response.Body)

	for {
		line, err := lines.ReadString('\n')
		if err != nil {
			return err
		}

		data, found := strings.CutPrefix(line, "data: ")
		if !found {
			continue
		}

		s := new(relayv1.Stats)
		if err := protojson.Unmarshal([]byte(data), s); err != nil {
			return err
		}

		select {
		case asked <- struct{}{}:
		default:
		}

		v.addStats(viewEvents, s)
	}
}

func (v *views) readJSON(ctx context.Context) error {
	response, err := v.get(ctx, "v1/flows/test/stats")
	if err != nil {
		return err
	}
	defer response.Body.Close()

	body, err := io.ReadAll(response.Body)
	answer := new(relayv1.GetStatsResponse)

	if err = errors.Join(err, protojson.Unmarshal(body, answer)); err == nil {
		v.addStats(viewJSON, answer.GetStats())
	}

	return err
}

func (v *views) readCtl(ctx context.Context, view string, args ...string) error {
	answer, err := v.scenario.relay.CtlAnswer(ctx, args...)
	s := new(relayv1.Stats)

	if err = errors.Join(err, protojson.Unmarshal(answer.Data, s)); err == nil {
		v.addStats(view, s)
	}

	return err
}

// readWatch reads the lines of a relayctl that goes on.
func (v *views) readWatch(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()

	cmd := exec.CommandContext(ctx, programs.Path(harness.Relayctl), "stats", "--watch", "-o", "json", "--server", v.scenario.relay.GRPCAddr())

	out, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}

	if err := cmd.Start(); err != nil {
		return err
	}

	for lines := bufio.NewReader(out); ; {
		line, err := lines.ReadBytes('\n')
		s := new(relayv1.Stats)

		if err = errors.Join(err, protojson.Unmarshal(line, s)); err != nil {
			cancel()

			return errors.Join(err, cmd.Wait())
		}

		v.addStats(viewWatch, s)
	}
}

// readScrape reads the series of the stats service.
func (v *views) readScrape(ctx context.Context) error {
	body, err := v.scenario.relay.Stats.Scrape(ctx)
	if err != nil {
		return err
	}
	defer body.Close()

	parser := expfmt.NewTextParser(model.UTF8Validation)

	families, err := parser.TextToMetricFamilies(body)
	if err != nil {
		return err
	}

	value := func(name, label, is string) string {
		for _, metric := range families[name].GetMetric() {
			matches := label == ""
			for _, pair := range metric.GetLabel() {
				matches = matches || pair.GetName() == label && pair.GetValue() == is
			}

			if matches { // one of the two is 0
				return strconv.FormatFloat(metric.GetCounter().GetValue()+metric.GetGauge().GetValue(), 'f', -1, 64)
			}
		}

		return unknown
	}

	facts := map[string]string{
		factTotal: value("relay_captured_changes_total", "", ""), factPending: value("relay_pending_changes", "", ""),
		factDead: value("relay_dead_letters", "", ""),
	}
	for _, result := range []string{"processed", "failed", "skipped"} {
		facts[factPrefixed+result] = value("relay_changes_total", "result", result)
	}

	for status := range relayv1.Status_value {
		if word := strings.TrimPrefix(status, "STATUS_"); value("relay_state", "state", word) == "1" {
			facts[factStatus] = word
		}
	}

	listeners, listenersErr := strconv.Atoi(value("relay_silent_instances", "role", "listener"))
	processors, processorsErr := strconv.Atoi(value("relay_silent_instances", "role", "processor"))

	// Without a report there are no instances, and the API does not say why.
	if listenersErr == nil && processorsErr == nil && listeners+processors > 0 {
		facts[factSilent] = strconv.Itoa(listeners + processors)
	}

	at, err := strconv.ParseFloat(value("relay_sample_timestamp_seconds", "", ""), 64)
	if err == nil {
		v.add(viewScrape, sampleTimeOf(at), facts)
	}

	return err
}

// pageScript is what a person reads, in one go: no sample comes in between.
const pageScript = `(() => {
  const figure = (name) => document.querySelector('[data-figure="' + name + '"] span')?.textContent ?? "";
  const sum = document.querySelector("#sum");

  return JSON.stringify({
    time: document.body.dataset.sample ?? "", live: document.querySelector("#freshness").dataset.state === "live",
    status: document.querySelector("#status").dataset.status, reasons: [...document.querySelectorAll("#reasons li")].map((li) => li.textContent),
    addsUp: sum.hasAttribute("data-unknown") ? "unknown" : String(!sum.hasAttribute("data-wrong")),
    figures: Object.fromEntries(["Captured", "Processed", "Failed", "Skipped", "Pending", "Dead letters"].map((name) => [name, figure(name)])),
  });
})()`

func (v *views) readPage(ctx context.Context) error {
	tab, cancel := context.WithTimeout(v.browser.ctx, patience)
	defer cancel()

	stop := context.AfterFunc(ctx, cancel)
	defer stop()

	text, err := chromedp.Run(tab, chromedp.Evaluate[string](pageScript)) //nolint:contextcheck // the tab's, which ends with ctx
	if err != nil {
		return err
	}

	var shown struct {
		Time    time.Time         `json:"time"`
		Live    bool              `json:"live"`
		Status  string            `json:"status"`
		AddsUp  string            `json:"addsUp"`
		Reasons []string          `json:"reasons"`
		Figures map[string]string `json:"figures"`
	}
	if err := json.Unmarshal([]byte(text), &shown); err != nil || !shown.Live || shown.Time.IsZero() {
		return err
	}

	facts := map[string]string{factStatus: shown.Status, factAddsUp: shown.AddsUp}
	if shown.Status != "OK" { // then it says in words that it is
		facts[factReasons] = strings.Join(shown.Reasons, "\n")
	}

	for name, figure := range map[string]string{
		"Captured": factTotal, "Pending": factPending, "Dead letters": factDead, "Processed": factPrefixed + "processed",
		"Failed": factPrefixed + "failed", "Skipped": factPrefixed + "skipped",
	} {
		facts[figure] = strings.ReplaceAll(shown.Figures[name], ",", "")
	}

	v.add(viewPage, sampleTimeOf(float64(shown.Time.UnixNano())/1e9), facts)

	return nil
}

package views

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os/exec"
	"strconv"
	"strings"
	"time"

	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
	"google.golang.org/protobuf/encoding/protojson"

	relayv1 "github.com/atlas-relay/atlas-relay/proto/relay/v1"
)

func (v *Views) get(ctx context.Context, path string) (*http.Response, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, v.options.PageURL+"v1/flows/"+v.options.Flow+path, http.NoBody)
	if err != nil {
		return nil, err
	}

	return http.DefaultClient.Do(request)
}

func (v *Views) readEvents(ctx context.Context, asked chan<- struct{}) error {
	response, err := v.get(ctx, "/events")
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

		v.addStats(Events, s)
	}
}

func (v *Views) readJSON(ctx context.Context) error {
	response, err := v.get(ctx, "/stats")
	if err != nil {
		return err
	}
	defer response.Body.Close()

	body, err := io.ReadAll(response.Body)
	answer := new(relayv1.GetStatsResponse)

	if err = errors.Join(err, protojson.Unmarshal(body, answer)); err == nil {
		v.addStats(JSON, answer.GetStats())
	}

	return err
}

// relayctl is a command of an operator.
func (v *Views) relayctl(ctx context.Context, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, v.options.Relayctl, append(args, "--server", v.options.GRPCAddr)...)
	cmd.Env = []string{"TERM=xterm-256color", "HOME=" + v.options.Dir}

	return cmd
}

// readCtl reads what an operator's programs read. The exit code says that something is not fine.
func (v *Views) readCtl(ctx context.Context, view string, args ...string) error {
	data, err := v.relayctl(ctx, args...).Output()
	if failed, ok := errors.AsType[*exec.ExitError](err); ok && failed.Exited() {
		err = nil
	}

	s := new(relayv1.Stats)
	if err = errors.Join(err, protojson.Unmarshal(data, s)); err == nil {
		v.addStats(view, s)
	}

	return err
}

// readWatch reads the lines of a relayctl that goes on.
func (v *Views) readWatch(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()

	cmd := v.relayctl(ctx, "stats", "--watch", "-o", "json")

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

		v.addStats(Watch, s)
	}
}

// ParseSeries reads what a service shows to Prometheus.
func ParseSeries(from io.Reader) (Series, error) {
	parser := expfmt.NewTextParser(model.UTF8Validation)

	families, err := parser.TextToMetricFamilies(from)
	if err != nil {
		return nil, fmt.Errorf("read the metrics: %w", err)
	}

	return func(name, label, is string) string {
		for _, metric := range families[name].GetMetric() {
			matches := label == ""
			for _, pair := range metric.GetLabel() {
				matches = matches || pair.GetName() == label && pair.GetValue() == is
			}

			if matches { // one of the two is 0
				return strconv.FormatFloat(metric.GetCounter().GetValue()+metric.GetGauge().GetValue(), 'f', -1, 64)
			}
		}

		return Unknown
	}, nil
}

// readScrape reads the series of the stats service.
func (v *Views) readScrape(ctx context.Context) error {
	value, err := v.options.Scrape(ctx)
	if err != nil {
		return err
	}

	at, err := strconv.ParseFloat(value("relay_sample_timestamp_seconds", "", ""), 64)
	if err != nil {
		return fmt.Errorf("there is no sample: %w", err)
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
			facts[FactStatus] = word
		}
	}

	// Without a report there are no instances, and the API does not say why.
	silent, silentKnown := bothRoles(value, "relay_silent_instances")
	gone, goneKnown := bothRoles(value, "relay_gone_instances")

	if silentKnown && goneKnown && silent+gone > 0 {
		facts[FactSilent], facts[factGone] = strconv.Itoa(silent), strconv.Itoa(gone)
	}

	v.add(Prometheus, sampleTimeOf(at), facts)

	return nil
}

// bothRoles is a number of listeners and processors.
func bothRoles(value Series, name string) (number int, known bool) {
	listeners, listenersErr := strconv.Atoi(value(name, "role", "listener"))
	processors, processorsErr := strconv.Atoi(value(name, "role", "processor"))

	return listeners + processors, listenersErr == nil && processorsErr == nil
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

func (v *Views) readPage(ctx context.Context) error {
	text, err := v.options.Evaluate(ctx, pageScript)
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

	facts := map[string]string{FactStatus: shown.Status, factAddsUp: shown.AddsUp}
	if shown.Status != "OK" { // then it says in words that it is
		facts[FactReasons] = strings.Join(shown.Reasons, "\n")
	}

	for name, figure := range map[string]string{
		"Captured": factTotal, "Pending": factPending, "Dead letters": factDead, "Processed": factPrefixed + "processed",
		"Failed": factPrefixed + "failed", "Skipped": factPrefixed + "skipped",
	} {
		facts[figure] = strings.ReplaceAll(shown.Figures[name], ",", "")
	}

	v.add(Page, sampleTimeOf(float64(shown.Time.UnixNano())/1e9), facts)

	return nil
}

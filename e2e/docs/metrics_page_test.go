package docs_test

import (
	"context"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	dto "github.com/prometheus/client_model/go"
	"github.com/stretchr/testify/require"

	"github.com/atlas-relay/atlas-relay/e2e/harness"
)

const metricsHead = `# Metrics

Written by ` + "`make generate`" + ` from a scrape of all services, on ` + "`/metrics`" + ` of ` + "`OPS_ADDR`" + `. What has to be watched, and at which
values: [alerts.yml](prometheus/alerts.yml); what to look at: [the board](grafana/boards/atlas-relay.json). Two services may show
one name: the stats service the number of the flow, a listener or processor its own part of it. Certificates are those of any
service that has some, for NATS too. What is unknown has no series. Names never change their meaning.

| metric | type | labels | of | meaning |
|---|---|---|---|---|
`

const metricsTail = `
Beside these each service shows those of Go (` + "`go_*`" + `) and of its process (` + "`process_*`" + `).
`

// ownMetric is what our metrics begin with.
const ownMetric = "relay_"

// shownMetric is one metric of one service.
type shownMetric struct{ name, service, kind, help, labels string }

// metricsPage is the reference, from a scrape. A help that differs between services is a row of its own.
func metricsPage(ctx context.Context, t *testing.T, relay *harness.Relay) string {
	t.Helper()

	var shown []shownMetric

	for _, service := range relay.Services() {
		shown = append(shown, metricsOf(ctx, t, service)...)
	}

	rows := map[string][]string{} // services by row without them

	for _, m := range shown {
		require.NotEmpty(t, m.help, m.name)

		row := fmt.Sprintf("| `%s` | %s | %s |\x00 %s |\n", m.name, m.kind, m.labels, strings.ReplaceAll(m.help, "|", `\|`))
		if !slices.Contains(rows[row], m.service) {
			rows[row] = append(rows[row], m.service)
		}
	}

	var page strings.Builder

	page.WriteString(metricsHead)

	for _, row := range slices.Sorted(maps.Keys(rows)) {
		page.WriteString(strings.Replace(row, "\x00", " "+strings.Join(rows[row], ", ")+" |", 1))
	}

	return page.String() + metricsTail
}

func metricsOf(ctx context.Context, t *testing.T, service *harness.Service) []shownMetric {
	t.Helper()

	families, err := service.Metrics(ctx)
	require.NoError(t, err)

	var shown []shownMetric

	for name, family := range families {
		if strings.HasPrefix(name, ownMetric) {
			shown = append(shown, shownMetric{name, service.Name, strings.ToLower(family.GetType().String()), family.GetHelp(), labelsOf(family)})
		}
	}

	return shown
}

// labelsOf are the names of all labels, and the values of those that can have only a few.
func labelsOf(family *dto.MetricFamily) string {
	values := map[string][]string{}

	for _, metric := range family.GetMetric() {
		for _, pair := range metric.GetLabel() {
			if !slices.Contains(values[pair.GetName()], pair.GetValue()) {
				values[pair.GetName()] = append(values[pair.GetName()], pair.GetValue())
			}
		}
	}

	var labels []string

	for _, name := range slices.Sorted(maps.Keys(values)) {
		label := "`" + name + "`"
		if slices.Contains([]string{"result", "stage", "state", "level", "role"}, name) {
			slices.Sort(values[name])
			label += " (" + strings.Join(values[name], ", ") + ")"
		}

		labels = append(labels, label)
	}

	return strings.Join(labels, ", ")
}

// declaredMetrics are the names that the code of the services has.
func declaredMetrics(t *testing.T) []string {
	t.Helper()

	names := map[string]bool{}
	literal := regexp.MustCompile(`"(` + ownMetric + `[a-z0-9_]+)"`)

	for _, module := range []string{"pkg", "services"} {
		err := filepath.WalkDir(filepath.Join(root, module), func(path string, entry fs.DirEntry, err error) error {
			if err != nil || entry.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
				return err
			}

			content, err := os.ReadFile(path)
			for _, found := range literal.FindAllSubmatch(content, -1) {
				names[string(found[1])] = true
			}

			return err
		})
		require.NoError(t, err)
	}

	require.Greater(t, len(names), 20)

	return slices.Sorted(maps.Keys(names))
}

// undocumented are metrics of the code that the page lacks: some appear only when there is something to say.
func undocumented(t *testing.T, page string) []string {
	t.Helper()

	return slices.DeleteFunc(declaredMetrics(t), func(name string) bool { return strings.Contains(page, "| `"+name+"` |") })
}

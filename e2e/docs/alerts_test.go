package docs_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"testing"

	"github.com/stretchr/testify/require"
	"go.yaml.in/yaml/v3"
)

// promtool runs the tests of the alerts as Prometheus itself does. Run like the other tools, it stays out of go.mod, with
// the clients of clouds that it brings. Its first build takes two minutes of two cores.
const promtool = "github.com/prometheus/prometheus/cmd/promtool@v0.316.0"

// runbooks is where the pages of the alerts are read.
const runbooks = "https://github.com/atlas-relay/atlas-relay/blob/main/deploy/runbooks/"

type alert struct {
	Name        string            `yaml:"alert"`
	Expr        string            `yaml:"expr"`
	For         string            `yaml:"for"`
	Labels      map[string]string `yaml:"labels"`
	Annotations map[string]string `yaml:"annotations"`
}

func alerts(t *testing.T) []alert {
	t.Helper()

	var file struct {
		Groups []struct {
			Rules []alert `yaml:"rules"`
		} `yaml:"groups"`
	}

	require.NoError(t, yaml.Unmarshal([]byte(read(t, "deploy", "prometheus", "alerts.yml")), &file))

	var all []alert
	for _, group := range file.Groups {
		all = append(all, group.Rules...)
	}

	require.NotEmpty(t, all)

	return all
}

// TestAlertsFire: each alert is quiet until its time has come, and then says what its test expects.
func TestAlertsFire(t *testing.T) {
	t.Parallel()

	cmd := exec.CommandContext(t.Context(), "go", "run", "-tags", "remove_all_sd", promtool, "test", "rules", "alerts_test.yml")
	cmd.Dir = filepath.Join(root, "deploy", "prometheus")
	cmd.Env = append(os.Environ(), "GOWORK=off", "GOFLAGS=")

	out, err := cmd.CombinedOutput()
	require.NoError(t, err, "%s", out)

	tested := read(t, "deploy", "prometheus", "alerts_test.yml")
	for _, a := range alerts(t) {
		require.Regexp(t, `alertname: `+a.Name+`\n\s+exp_alerts:`, tested, "no test sees %s fire", a.Name)
	}
}

// TestAlertsSayWhatToDo: severity, a sentence, its reason, and a page that exists; and no page is left over.
func TestAlertsSayWhatToDo(t *testing.T) {
	t.Parallel()

	var pages []string

	for _, a := range alerts(t) {
		require.Contains(t, []string{"critical", "warning"}, a.Labels["severity"], a.Name)
		require.NotEmpty(t, a.Annotations["summary"], a.Name)
		require.NotEmpty(t, a.Annotations["description"], a.Name)
		require.Equal(t, runbooks+a.Name+".md", a.Annotations["runbook_url"], a.Name)

		pages = append(pages, a.Name+".md")
	}

	files, err := os.ReadDir(filepath.Join(root, "deploy", "runbooks"))
	require.NoError(t, err)

	var found []string
	for _, file := range files {
		found = append(found, file.Name())
	}

	require.ElementsMatch(t, pages, found)
}

// TestRunbooksCanBeFollowed: every page has its parts, its links lead, and it names a command of relayctl. Whether that
// exists: TestCommandsOfThePagesExist.
func TestRunbooksCanBeFollowed(t *testing.T) {
	t.Parallel()

	for _, a := range alerts(t) {
		page := read(t, "deploy", "runbooks", a.Name+".md")
		require.Regexp(t, "(?s)^# "+a.Name+"\n\n## Meaning\n.*\n## Impact\n.*\n## Diagnosis\n.*\n## Remedy\n", page)

		for _, link := range regexp.MustCompile(`\]\(([^)]+)\)`).FindAllStringSubmatch(page, -1) {
			require.FileExists(t, filepath.Join(root, "deploy", "runbooks", link[1]))
		}

		require.Regexp(t, "(?m)^relayctl ", page, a.Name)
	}
}

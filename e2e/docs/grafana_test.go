package docs_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/grafana/grafana-foundation-sdk/go/cog"
	"github.com/grafana/grafana-foundation-sdk/go/cog/plugins"
	"github.com/grafana/grafana-foundation-sdk/go/dashboard"
	"github.com/stretchr/testify/require"
	"go.yaml.in/yaml/v3"
)

// TestBoardFitsTheSchema holds the board against the types that Grafana's makers generate from its schemas: the dashboard,
// each kind of panel with its options, and the queries of Prometheus.
func TestBoardFitsTheSchema(t *testing.T) {
	t.Parallel()

	plugins.RegisterDefaultPlugins()

	text := read(t, "deploy", "grafana", "boards", "atlas-relay.json")
	d, mistakes := readBoard(text)
	require.Empty(t, mistakes)
	require.NoError(t, d.Validate())

	for _, p := range d.Panels {
		if p.Panel == nil {
			continue
		}

		_, known := cog.NewRuntime().ConfigForPanelcfgVariant(p.Panel.Type)
		require.True(t, known, "panel %q is of the unknown kind %s", *p.Panel.Title, p.Panel.Type)
	}

	// What is misspelt, and what is of another type, are found.
	_, mistakes = readBoard(strings.Replace(text, `"colorMode"`, `"colourMode"`, 1))
	require.Len(t, mistakes, 1)
	_, mistakes = readBoard(strings.Replace(text, `"showHeader": true`, `"showHeader": "yes"`, 1))
	require.Len(t, mistakes, 1)
}

// readBoard returns a board and what is wrong with it. Fields that are missing are not: the schema asks for all of them, and
// Grafana takes its defaults.
func readBoard(text string) (*dashboard.Dashboard, []string) { //nolint:staticcheck // the form of files, which the newer one replaces only in Grafana's API
	var (
		d        dashboard.Dashboard //nolint:staticcheck // as above
		errs     cog.BuildErrors
		mistakes []string
	)

	if err := d.UnmarshalJSONStrict([]byte(text)); err != nil && !errors.As(err, &errs) {
		return &d, []string{err.Error()}
	}

	for _, err := range errs {
		if err.Message != "required field is missing from input" {
			mistakes = append(mistakes, err.Error())
		}
	}

	return &d, mistakes
}

// provisionedSources is a file of data sources as Grafana reads it, with the settings of Prometheus and Jaeger
// (https://grafana.com/docs/grafana/latest/administration/provisioning/#data-sources).
type provisionedSources struct {
	APIVersion  int `yaml:"apiVersion"`
	Datasources []struct {
		Name      string `yaml:"name"`
		UID       string `yaml:"uid"`
		Type      string `yaml:"type"`
		Access    string `yaml:"access"`
		URL       string `yaml:"url"`
		IsDefault bool   `yaml:"isDefault"`
		Editable  bool   `yaml:"editable"`
		JSONData  struct {
			HTTPMethod                  string `yaml:"httpMethod"`
			TimeInterval                string `yaml:"timeInterval"`
			ManageAlerts                bool   `yaml:"manageAlerts"`
			ExemplarTraceIDDestinations []struct {
				Name            string `yaml:"name"`
				DatasourceUID   string `yaml:"datasourceUid"`
				URL             string `yaml:"url"`
				URLDisplayLabel string `yaml:"urlDisplayLabel"`
			} `yaml:"exemplarTraceIdDestinations"`
		} `yaml:"jsonData"`
	} `yaml:"datasources"`
}

// provisionedBoards is a file of providers of dashboards
// (https://grafana.com/docs/grafana/latest/administration/provisioning/#dashboards).
type provisionedBoards struct {
	APIVersion int `yaml:"apiVersion"`
	Providers  []struct {
		Name                  string `yaml:"name"`
		Folder                string `yaml:"folder"`
		Type                  string `yaml:"type"`
		DisableDeletion       bool   `yaml:"disableDeletion"`
		UpdateIntervalSeconds int    `yaml:"updateIntervalSeconds"`
		AllowUIUpdates        bool   `yaml:"allowUiUpdates"`
		Options               struct {
			Path                      string `yaml:"path"`
			FoldersFromFilesStructure bool   `yaml:"foldersFromFilesStructure"`
		} `yaml:"options"`
	} `yaml:"providers"`
}

// readStrictly refuses what the type does not know: Grafana itself passes over a misspelt field in silence.
func readStrictly(t *testing.T, into any, path ...string) {
	t.Helper()

	decoder := yaml.NewDecoder(strings.NewReader(read(t, path...)))
	decoder.KnownFields(true)
	require.NoError(t, decoder.Decode(into), path)
}

// TestGrafanaIsProvisioned: what Grafana is given at its start is where the compose file mounts it, and leads to the
// services beside it.
func TestGrafanaIsProvisioned(t *testing.T) {
	t.Parallel()

	var (
		sources provisionedSources
		boards  provisionedBoards
	)

	readStrictly(t, &sources, "deploy", "grafana", "provisioning", "datasources", "atlas-relay.yml")
	readStrictly(t, &boards, "deploy", "grafana", "provisioning", "dashboards", "atlas-relay.yml")
	require.Equal(t, 1, sources.APIVersion)
	require.Equal(t, 1, boards.APIVersion)

	project := compose(t, map[string]string{"COMPOSE_PROFILES": observability})
	uids := map[string]bool{}

	for _, source := range sources.Datasources {
		uids[source.UID] = true

		host, _, found := strings.Cut(strings.TrimPrefix(source.URL, "http://"), ":")
		require.True(t, found, "%s has no port", source.URL)
		require.Contains(t, project.Services, host)
		require.Contains(t, []string{"prometheus", "jaeger"}, source.Type)
	}

	for _, source := range sources.Datasources {
		for _, destination := range source.JSONData.ExemplarTraceIDDestinations {
			require.True(t, uids[destination.DatasourceUID], "%s leads to nobody", destination.Name)
		}
	}

	mounted := map[string]bool{}
	for _, volume := range project.Services["grafana"].Volumes {
		mounted[volume.Target] = true
	}

	require.True(t, mounted["/etc/grafana/provisioning"])

	for _, provider := range boards.Providers {
		require.Equal(t, "file", provider.Type)
		require.True(t, mounted[provider.Options.Path], "%s is not there", provider.Options.Path)
	}
}

package docs_test

import (
	"maps"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/compose-spec/compose-go/v2/loader"
	"github.com/compose-spec/compose-go/v2/types"
	"github.com/stretchr/testify/require"
	"go.yaml.in/yaml/v3"

	"github.com/atlas-relay/atlas-relay/e2e/harness"
)

// programOf says which of our programs a service of the compose file runs.
var programOf = map[string]string{
	"init": harness.Relayctl, "listener": harness.Listener, "processor": harness.Processor, "stats": harness.Stats,
}

// observability is the profile that adds what watches the rest.
const observability = "observability"

// compose loads the file as docker compose does, profiles from COMPOSE_PROFILES included.
func compose(t *testing.T, environment types.Mapping) *types.Project {
	t.Helper()

	project, err := loader.LoadWithContext(t.Context(), types.ConfigDetails{
		WorkingDir:  root,
		ConfigFiles: []types.ConfigFile{{Filename: "docker-compose.yml", Content: []byte(read(t, "docker-compose.yml"))}},
		Environment: environment,
	}, func(o *loader.Options) {
		if profiles := environment["COMPOSE_PROFILES"]; profiles != "" {
			o.Profiles = strings.Split(profiles, ",")
		}
	})
	require.NoError(t, err)

	return project
}

// TestComposeWatchesOnlyWhenAskedTo: without the profile there are neither its containers nor traces.
func TestComposeWatchesOnlyWhenAskedTo(t *testing.T) {
	t.Parallel()

	plain, watched := compose(t, nil), compose(t, types.Mapping{"COMPOSE_PROFILES": observability})

	for _, name := range []string{"prometheus", "grafana", "jaeger"} {
		require.NotContains(t, plain.Services, name)
		require.Contains(t, watched.Services, name)

		service := watched.Services[name]
		require.Equal(t, []string{observability}, service.Profiles)
		require.Regexp(t, `:v?\d+\.\d+\.\d+$`, service.Image, "%s may become another version by itself", name)
		require.True(t, service.ReadOnly, name)

		for _, port := range service.Ports {
			require.Equal(t, "127.0.0.1", port.HostIP, "%s has no password", name)
		}

		for _, volume := range service.Volumes {
			if volume.Type == types.VolumeTypeBind {
				require.True(t, volume.ReadOnly, "%s writes to %s", name, volume.Source)
				_, err := os.Stat(volume.Source)
				require.NoError(t, err)
			}
		}
	}

	for _, name := range []string{"listener", "processor"} {
		require.Empty(t, *plain.Services[name].Environment["OTEL_TRACES_EXPORTER"])
		require.Empty(t, *plain.Services[name].Environment["OTEL_EXPORTER_OTLP_ENDPOINT"])
		require.Equal(t, "otlp", *watched.Services[name].Environment["OTEL_TRACES_EXPORTER"])
		require.Equal(t, "http://jaeger:4317", *watched.Services[name].Environment["OTEL_EXPORTER_OTLP_ENDPOINT"])

		elsewhere := compose(t, types.Mapping{"OTEL_EXPORTER_OTLP_ENDPOINT": "http://collector:4317"})
		require.Equal(t, "http://collector:4317", *elsewhere.Services[name].Environment["OTEL_EXPORTER_OTLP_ENDPOINT"])
	}
}

// TestComposeIsScraped: Prometheus asks every service of ours that serves metrics, all its containers, on the right port.
func TestComposeIsScraped(t *testing.T) {
	t.Parallel()

	var prometheus struct {
		ScrapeConfigs []struct {
			Job string `yaml:"job_name"`
			DNS []struct {
				Names []string `yaml:"names"`
				Type  string   `yaml:"type"`
				Port  string   `yaml:"port"`
			} `yaml:"dns_sd_configs"`
		} `yaml:"scrape_configs"`
	}

	require.NoError(t, yaml.Unmarshal([]byte(read(t, "deploy", "prometheus", "prometheus.yml")), &prometheus))

	scraped := map[string]string{}

	for _, c := range prometheus.ScrapeConfigs {
		require.Len(t, c.DNS, 1, c.Job)
		require.Equal(t, []string{c.Job}, c.DNS[0].Names)
		require.Equal(t, "A", c.DNS[0].Type, "one address for each container")
		scraped[c.Job] = "`:" + c.DNS[0].Port + "`"
	}

	project := compose(t, nil)

	for name, program := range programOf {
		settings := reference(t, program)

		at := slices.IndexFunc(settings, func(s setting) bool { return s.name == "OPS_ADDR" })
		if at < 0 {
			continue
		}

		require.NotContains(t, project.Services[name].Environment, "OPS_ADDR")
		require.Equal(t, settings[at].preset, scraped[name], name)
		delete(scraped, name)
	}

	require.Empty(t, scraped)
}

func TestComposeSetsOnlyWhatTheServicesKnow(t *testing.T) {
	t.Parallel()

	project := compose(t, nil)

	for name, program := range programOf {
		service, err := project.GetService(name)
		require.NoError(t, err)
		require.Equal(t, program, *service.Build.Args["SERVICE"])

		known := reference(t, program)

		for variable := range service.Environment {
			if strings.HasPrefix(variable, "OTEL_") {
				continue // OpenTelemetry's own
			}

			require.True(t, slices.ContainsFunc(known, func(s setting) bool { return s.name == variable }),
				"%s sets %s, which %s does not know", name, variable, program)
		}

		for _, s := range known {
			if s.preset == "required" {
				require.Contains(t, service.Environment, s.name, "%s needs %s", name, s.name)
			}
		}
	}
}

// notHandedOn are settings that a user of the compose file cannot set there, and why.
var notHandedOn = map[string]string{
	"OPS_ADDR":       "Prometheus and the health checks know the port",
	"GRPC_ADDR":      "the file publishes the port",
	"HTTP_ADDR":      "the file publishes the port",
	"SHUTDOWN_GRACE": "stop_grace_period has to be longer",
	"TARGET_URIS":    "the file is for one flow",
}

// TestComposeHandsEverySettingOn: what a user sets arrives, in each program that knows it; and where several do, the same
// arrives in all of them.
func TestComposeHandsEverySettingOn(t *testing.T) {
	t.Parallel()

	left := maps.Clone(notHandedOn)

	for name, program := range programOf {
		known, given := reference(t, program), types.Mapping{}
		for _, s := range known {
			given[s.name] = "the value of " + s.name
		}

		environment := compose(t, given).Services[name].Environment

		for _, s := range known {
			if _, kept := notHandedOn[s.name]; kept {
				require.NotContains(t, environment, s.name, name)
				delete(left, s.name)

				continue
			}

			require.Contains(t, environment, s.name, "%s does not get %s", name, s.name)
			require.Equal(t, given[s.name], *environment[s.name], "%s of %s", s.name, name)
		}
	}

	require.Empty(t, left, "no program has these")
}

// TestComposeKeepsDefaults: what nobody sets is empty, and so the program's own default, but for what the file is about.
func TestComposeKeepsDefaults(t *testing.T) {
	t.Parallel()

	own := []string{"FLOW", "NATS_URL", "SOURCE_URI", "TARGET_URI", "API_OPEN"}
	project := compose(t, nil)

	for name, program := range programOf {
		for _, s := range reference(t, program) {
			value := project.Services[name].Environment[s.name]
			if value == nil || *value == "" || slices.Contains(own, s.name) {
				continue
			}

			require.Equal(t, s.preset, "`"+*value+"`", "%s of %s", s.name, name)
		}
	}
}

func TestComposeStartsInOrder(t *testing.T) {
	t.Parallel()

	project := compose(t, nil)

	for name := range programOf {
		service, err := project.GetService(name)
		require.NoError(t, err)

		if name == "init" {
			for _, server := range []string{"source", "target", "nats"} {
				require.Equal(t, types.ServiceConditionHealthy, service.DependsOn[server].Condition)
			}

			continue
		}

		require.Equal(t, types.ServiceConditionCompletedSuccessfully, service.DependsOn["init"].Condition)
		require.Equal(t, types.HealthCheckTest{"CMD", "/service", "healthcheck"}, service.HealthCheck.Test)
	}
}

// TestComposeCanScale: docker compose up --scale processor=3 fails for a fixed name or port of the host.
func TestComposeCanScale(t *testing.T) {
	t.Parallel()

	for _, name := range []string{"listener", "processor"} {
		service, err := compose(t, nil).GetService(name)
		require.NoError(t, err)
		require.Empty(t, service.ContainerName)
		require.Empty(t, service.Ports)
		require.Empty(t, service.Volumes, "replicas would share it")
	}
}

func TestComposeTakesAnotherSource(t *testing.T) {
	t.Parallel()

	const atlas = "mongodb+srv://relay:secret@cluster.example.net"

	for _, name := range []string{"init", "listener"} {
		service, err := compose(t, types.Mapping{"SOURCE_URI": atlas}).GetService(name)
		require.NoError(t, err)
		require.Equal(t, atlas, *service.Environment["SOURCE_URI"])

		service, err = compose(t, nil).GetService(name)
		require.NoError(t, err)
		require.True(t, strings.HasPrefix(*service.Environment["SOURCE_URI"], "mongodb://source:27017/"))
	}
}

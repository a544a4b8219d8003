package docs_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/compose-spec/compose-go/v2/loader"
	"github.com/compose-spec/compose-go/v2/types"
	"github.com/stretchr/testify/require"

	"github.com/atlas-relay/atlas-relay/e2e/harness"
)

// programOf says which of our programs a service of the compose file runs.
var programOf = map[string]string{
	"init": harness.Relayctl, "listener": harness.Listener, "processor": harness.Processor, "stats": harness.Stats,
}

func compose(t *testing.T, environment types.Mapping) *types.Project {
	t.Helper()

	project, err := loader.LoadWithContext(t.Context(), types.ConfigDetails{
		WorkingDir:  root,
		ConfigFiles: []types.ConfigFile{{Filename: "docker-compose.yml", Content: []byte(read(t, "docker-compose.yml"))}},
		Environment: environment,
	})
	require.NoError(t, err)

	return project
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

package docs_test

import (
	"maps"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/compose-spec/compose-go/v2/types"
	"github.com/stretchr/testify/require"

	"github.com/atlas-relay/atlas-relay/e2e/standins"
)

// watched is the project with everything in it.
func watched(t *testing.T) *types.Project {
	t.Helper()

	return compose(t, types.Mapping{"COMPOSE_PROFILES": observability})
}

// TestComposeComesBack: what ended without being told to, or with its host, is started again, databases and NATS as much
// as the services that need them.
func TestComposeComesBack(t *testing.T) {
	t.Parallel()

	for name, service := range watched(t).Services {
		if name == "init" { // runs once
			require.Empty(t, service.Restart)

			continue
		}

		require.Equal(t, types.RestartPolicyUnlessStopped, service.Restart, name)
	}
}

// TestComposeHealthIsReadiness: what is no longer ready is soon no longer healthy either, or up --wait would call green
// what is not; and at the start everybody has time.
func TestComposeHealthIsReadiness(t *testing.T) {
	t.Parallel()

	const soon, enough = 15 * time.Second, time.Minute

	for name, service := range watched(t).Services {
		if name == "init" { // ends
			continue
		}

		check := service.HealthCheck
		require.NotNil(t, check, name)

		// A check that fails at once; one that hangs takes its timeout each time.
		require.LessOrEqual(t, time.Duration(*check.Retries)*time.Duration(*check.Interval), soon, name)
		require.GreaterOrEqual(t, time.Duration(*check.StartPeriod), enough, name)
	}
}

// TestComposeConfines: our containers and those that only watch can write nothing to their own files and gain no rights.
func TestComposeConfines(t *testing.T) {
	t.Parallel()

	for name, service := range watched(t).Services {
		if slices.Contains([]string{"source", "target", "nats"}, name) {
			continue
		}

		require.True(t, service.ReadOnly, name)
		require.False(t, service.Privileged, name)
		require.Empty(t, service.CapAdd, name)
		require.Equal(t, []string{"ALL"}, service.CapDrop, name)
		require.Contains(t, service.SecurityOpt, "no-new-privileges:true", name)
	}
}

// TestComposeHandsVersionOn: what make up knows from git arrives in every image that is built.
func TestComposeHandsVersionOn(t *testing.T) {
	t.Parallel()

	project := compose(t, types.Mapping{"RELAY_VERSION": "v1.2.3", "RELAY_REVISION": "0123"})

	for name := range programOf {
		build := project.Services[name].Build
		require.Equal(t, "v1.2.3", *build.Args["VERSION"], name)
		require.Equal(t, "0123", *build.Args["REVISION"], name)
	}
}

// TestDockerfileStampsVersion builds a program as the Dockerfile does and asks it.
func TestDockerfileStampsVersion(t *testing.T) {
	t.Parallel()

	flags := regexp.MustCompile(`-ldflags="([^"]+)"`).FindStringSubmatch(read(t, "deploy", "Dockerfile"))
	require.Len(t, flags, 2)

	program := filepath.Join(t.TempDir(), "listener")

	cmd := exec.CommandContext(t.Context(), "go", "build", "-C", filepath.Join(root, "services", "listener"), "-trimpath", "-buildvcs=false",
		"-ldflags", strings.ReplaceAll(flags[1], "${VERSION}", "v1.2.3"), "-o", program, ".")
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, "%s", out)

	out, err = exec.CommandContext(t.Context(), program, "version").Output()
	require.NoError(t, err)
	require.Equal(t, "listener v1.2.3\n", string(out))
}

// TestImagesHaveStandIns: make test-compose has a stand-in for each image that the compose file and the Dockerfile name,
// or says why not, under exactly that name.
func TestImagesHaveStandIns(t *testing.T) {
	t.Parallel()

	named := map[string]bool{}

	for _, service := range watched(t).Services {
		if service.Build == nil {
			named[service.Image] = true
		}
	}

	for _, from := range regexp.MustCompile(`(?m)^FROM (\S+)`).FindAllStringSubmatch(read(t, "deploy", "Dockerfile"), -1) {
		if from[1] != "scratch" {
			named[from[1]] = true
		}
	}

	known := slices.Concat(standins.Names(), slices.Collect(maps.Keys(standins.NotMade())))
	require.ElementsMatch(t, slices.Collect(maps.Keys(named)), known)
}

package docs_test

import (
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/compose-spec/compose-go/v2/loader"
	"github.com/compose-spec/compose-go/v2/types"
	"github.com/stretchr/testify/require"

	"github.com/atlas-relay/atlas-relay/e2e/harness"
)

// TestSecuredCompose: deploy/nats/secured.compose.yml gives nats-server the key of every role that secured.conf names, and
// each service the file of its own.
func TestSecuredCompose(t *testing.T) {
	t.Parallel()

	environment := types.Mapping{"RELAY_KEYS": "/secret"}

	var named []string

	for _, found := range regexp.MustCompile(`nkey: \$(\w+)`).FindAllStringSubmatch(read(t, "deploy", "nats", "secured.conf"), -1) {
		named = append(named, found[1])
		environment[found[1]] = "U" + found[1]
	}

	require.Len(t, named, len(harness.Roles()))

	project, err := loader.LoadWithContext(t.Context(), types.ConfigDetails{
		WorkingDir: root,
		ConfigFiles: []types.ConfigFile{
			{Filename: "docker-compose.yml", Content: []byte(read(t, "docker-compose.yml"))},
			{Filename: "secured.compose.yml", Content: []byte(read(t, "deploy", "nats", "secured.compose.yml"))},
		},
		Environment: environment,
	})
	require.NoError(t, err)

	nats := project.Services["nats"]
	require.Equal(t, types.ShellCommand{"--config", "/etc/nats/secured.conf"}, nats.Command)

	for _, name := range named {
		require.NotNil(t, nats.Environment[name], name)
		require.Equal(t, "U"+name, *nats.Environment[name])
	}

	for _, file := range []string{"nats.conf", "secured.conf"} { // the one includes the other
		require.True(t, slices.ContainsFunc(nats.Volumes, func(v types.ServiceVolumeConfig) bool { return v.Target == "/etc/nats/"+file && v.ReadOnly }), file)
	}

	for service, roles := range map[string]map[string]string{
		"init":     {"NATS_CREDS": "operator"},
		"listener": {"NATS_CREDS": "listener", "NATS_JANITOR_CREDS": "janitor"}, "processor": {"NATS_CREDS": "processor"}, "stats": {"NATS_CREDS": "stats"},
	} {
		s := project.Services[service]

		for variable, role := range roles {
			path := "/keys/" + role + ".nk"
			require.Equal(t, path, *s.Environment[variable], service)
			require.True(t, slices.ContainsFunc(s.Volumes, func(v types.ServiceVolumeConfig) bool {
				return v.Target == path && v.Source == "/secret/"+role+".nk" && v.ReadOnly
			}), service)
		}

		for _, v := range s.Volumes {
			require.True(t, strings.HasPrefix(v.Target, "/keys/"), "%s has %s", service, v.Target)
		}
	}
}

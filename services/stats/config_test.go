package main

import (
	"maps"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/atlas-relay/atlas-relay/pkg/lifecycle"
	"github.com/atlas-relay/atlas-relay/pkg/settings"
	"github.com/atlas-relay/atlas-relay/pkg/tlstest"
	"github.com/atlas-relay/atlas-relay/services/stats/internal/access"
)

func TestTargets(t *testing.T) {
	t.Parallel()

	cfg, err := LoadConfig(map[string]string{"TARGET_URI": "mongodb://a"})
	require.NoError(t, err)
	require.Equal(t, map[string]settings.URI{"atlas-to-local": settings.NewURI("mongodb://a")}, cfg.Targets())
	require.Equal(t, ":50051", cfg.GRPCAddr)
	require.Equal(t, ":8083", cfg.OpsAddr)

	cfg, err = LoadConfig(map[string]string{"TARGET_URIS": "a=mongodb://u:p@h1:1,h2:2/?replicaSet=rs&w=majority, b-2=mongodb+srv://h.example.net"})
	require.NoError(t, err)
	require.Equal(t, map[string]settings.URI{
		"a":   settings.NewURI("mongodb://u:p@h1:1,h2:2/?replicaSet=rs&w=majority"),
		"b-2": settings.NewURI("mongodb+srv://h.example.net"),
	}, cfg.Targets())
}

func TestWrongSettings(t *testing.T) {
	t.Parallel()

	for name, test := range map[string]struct {
		environ map[string]string
		want    string
	}{
		"nothing":      {map[string]string{}, "TARGET_URI"},
		"both":         {map[string]string{"TARGET_URI": "mongodb://a", "TARGET_URIS": "f=mongodb://b"}, "keep one"},
		"no list":      {map[string]string{"TARGET_URIS": "mongodb://u:hunter2@b"}, "comma list of flow=uri"},
		"bad flow":     {map[string]string{"TARGET_URIS": "Not_a_flow=mongodb://u:hunter2@b"}, `"Not_a_flow"`},
		"bad uri":      {map[string]string{"TARGET_URI": "mongodb://u:hunter2%zz@b"}, "percent-encoded"},
		"bad uri list": {map[string]string{"TARGET_URIS": "f=mongodb://u:hunter2%zz@b"}, "of flow f"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()

			_, err := LoadConfig(test.environ)
			require.ErrorContains(t, err, test.want)
			require.NotContains(t, err.Error(), "hunter2")
			require.Equal(t, 2, lifecycle.ExitCode(err))
		})
	}
}

// TestRolesOfThisHost: nobody need set anything, and a host with a proxy can.
func TestRolesOfThisHost(t *testing.T) {
	t.Parallel()

	file := filepath.Join(t.TempDir(), "tokens")
	require.NoError(t, os.WriteFile(file, []byte("ann operator 0123456789abcdef\n"), 0o600))

	for name, test := range map[string]struct {
		environ map[string]string
		most    access.Role
	}{
		"nothing set":       {map[string]string{}, access.Operator},
		"beside tokens":     {map[string]string{"API_TOKENS_FILE": file}, access.Viewer},
		"tokens for all":    {map[string]string{"API_TOKENS_FILE": file, "API_LOCAL": "none"}, access.Nobody},
		"more than default": {map[string]string{"API_TOKENS_FILE": file, "API_LOCAL": "operator"}, access.Operator},
		"empty":             {map[string]string{"API_LOCAL": ""}, access.Operator},
	} {
		test.environ["TARGET_URI"] = "mongodb://a"

		cfg, err := LoadConfig(test.environ)
		require.NoError(t, err, name)

		tokens, err := cfg.tokens()
		require.NoError(t, err, name)

		for _, needs := range []access.Role{access.Nobody, access.Viewer, access.Operator} {
			_, err = cfg.guard(tokens).Admit(access.Caller{Local: true}, needs)
			require.Equal(t, needs <= test.most, err == nil, "%s: %s", name, needs)
		}
	}
}

func TestWrongSettingsOfTLS(t *testing.T) {
	t.Parallel()

	authority := tlstest.NewAuthority(t, "test")
	dir := t.TempDir()
	cert, key := authority.Issue(t, tlstest.Wanted{}).Write(t, dir, "server")
	_, other := authority.Issue(t, tlstest.Wanted{}).Write(t, dir, "other")
	ca := tlstest.Write(t, dir, "ca.pem", authority.PEM())
	tokens := tlstest.Write(t, dir, "tokens", []byte("cert:ann viewer\n"))

	for name, test := range map[string]struct {
		environ map[string]string
		want    string // empty: fine
	}{
		"none":              {nil, ""},
		"a pair":            {map[string]string{"API_CERT": cert, "API_KEY": key}, ""},
		"with clients":      {map[string]string{"API_CERT": cert, "API_KEY": key, "API_CLIENT_CA": ca, "API_TOKENS_FILE": tokens}, ""},
		"no key":            {map[string]string{"API_CERT": cert}, "API_KEY"},
		"no certificate":    {map[string]string{"API_KEY": key}, "API_CERT"},
		"another's key":     {map[string]string{"API_CERT": cert, "API_KEY": other}, "private key does not match"},
		"no file":           {map[string]string{"API_CERT": cert + "x", "API_KEY": key}, "no such file"},
		"clients, no pair":  {map[string]string{"API_CLIENT_CA": ca, "API_TOKENS_FILE": tokens}, "set API_CERT and API_KEY"},
		"clients, no roles": {map[string]string{"API_CERT": cert, "API_KEY": key, "API_CLIENT_CA": ca}, "cert:ann@example.net operator"},
		"clients of a key":  {map[string]string{"API_CERT": cert, "API_KEY": key, "API_CLIENT_CA": key, "API_TOKENS_FILE": tokens}, "API_CLIENT_CA"},
	} {
		environ := map[string]string{"TARGET_URI": "mongodb://a"}
		maps.Copy(environ, test.environ)

		_, err := LoadConfig(environ)
		if test.want == "" {
			require.NoError(t, err, name)

			continue
		}

		require.ErrorContains(t, err, test.want, name)
		require.Equal(t, 2, lifecycle.ExitCode(err))
	}
}

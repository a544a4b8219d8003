package settings_test

import (
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/atlas-relay/atlas-relay/pkg/settings"
)

// TestMisplacedSecretsDoNotShow: what holds a secret in the place of its path, or of something else, is a mistake that
// names the variable alone.
func TestMisplacedSecretsDoNotShow(t *testing.T) {
	t.Parallel()

	const (
		seed  = "SUACSSL3UAHUDXKFSNVUZRF5UHPMWZ6BFDTJ7M6USDXIEDNPPQYYYCU3VY"
		pem   = "-----BEGIN PRIVATE KEY-----\nhunter2\n"
		token = "eyJhbGciOiJlZDI1NTE5LW5rZXkifQ.eyJodW50ZXIyIn0.hunter2"
		uri   = "mongodb://relay:hunter2@host/"
	)

	type config struct {
		settings.Common

		Source settings.URI `env:"SOURCE_URI,required" help:"MongoDB to read from"`
		Size   int          `env:"BATCH_SIZE" envDefault:"100" help:"most events of a batch"`
		Key    string       `env:"API_KEY" help:"path of a key"`
	}

	err := settings.Load(new(config), map[string]string{
		"SOURCE_URI_FILE": uri, "BATCH_SIZE": uri, "API_KEY": pem, "NATS_CREDS": seed, "NATS_CA": token, "FLOW": "nats://a:hunter2@h", "LOG_LEVEL": uri,
	})

	for _, name := range []string{"SOURCE_URI_FILE", "BATCH_SIZE", "API_KEY", "NATS_CREDS", "NATS_CA", "FLOW", "LOG_LEVEL"} {
		require.ErrorContains(t, err, name+": holds a secret")
	}

	for _, secret := range []string{"hunter2", seed, token} {
		require.NotContains(t, err.Error(), secret)
	}

	// What only looks a little like one is none.
	require.NoError(t, settings.Load(new(config), map[string]string{
		"SOURCE_URI": uri, "NATS_URL": "nats://relay:hunter2@host", "API_KEY": filepath.Join(t.TempDir(), "SU.key"), "NATS_CREDS": "/etc/eyJ/user.creds",
	}))
}

package settings_test

import (
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/atlas-relay/atlas-relay/pkg/settings"
)

type config struct {
	settings.Common

	TargetURI  settings.URI        `env:"TARGET_URI,required" help:"MongoDB to write to"`
	Token      settings.Secret     `env:"TOKEN" help:"shared secret"`
	BatchSize  int                 `env:"BATCH_SIZE" envDefault:"100" min:"1" max:"10000" help:"most events of one batch"`
	IdleAfter  time.Duration       `env:"IDLE_AFTER" envDefault:"1s" min:"1ms" help:"closes after this long"`
	MaxAge     time.Duration       `env:"MAX_AGE" envDefault:"2s" help:"closes at this age"`
	MaxBytes   settings.Bytes      `env:"MAX_BYTES" envDefault:"8MiB" min:"1KiB" help:"closes at this size"`
	Eager      bool                `env:"EAGER" envDefault:"true" help:"closes when nothing is in flight"`
	Delays     settings.Durations  `env:"DELAYS" envDefault:"1s,5s" help:"waits between tries"`
	Include    settings.Namespaces `env:"INCLUDE" help:"namespaces to copy"`
	FullLookup string              `env:"FULL_LOOKUP" envDefault:"delta" oneof:"delta,always" help:"what an update carries"`
}

func (c config) Validate() error {
	var mistakes []error
	if c.MaxAge < c.IdleAfter {
		mistakes = append(mistakes, settings.Mistake{Name: "MAX_AGE", Value: c.MaxAge, Rule: "must not be shorter than IDLE_AFTER"})
	}

	return errors.Join(mistakes...)
}

const uri = "mongodb://user:hunter2@db.example.net:27017/?replicaSet=rs0"

func TestLoadTakesDefaultsAndValues(t *testing.T) {
	t.Parallel()

	cfg := config{Common: settings.Common{OpsAddr: ":9090"}}
	require.NoError(t, settings.Load(&cfg, map[string]string{
		"TARGET_URI": uri, "BATCH_SIZE": "7", "INCLUDE": "shop.orders, crm.*", "MAX_BYTES": "1GiB", "LOG_LEVEL": "debug",
		"EAGER": "", "DELAYS": "10ms, 1m", "UNRELATED": "x", "NATS_PORT": "tcp://10.0.0.1:4222",
	}))

	require.Equal(t, uri, cfg.TargetURI.Reveal())
	require.Equal(t, 7, cfg.BatchSize)
	require.True(t, cfg.Eager, "an empty variable counts as unset")
	require.Equal(t, settings.Bytes(1<<30), cfg.MaxBytes)
	require.Equal(t, settings.Durations{10 * time.Millisecond, time.Minute}, cfg.Delays)
	require.Equal(t, settings.Namespaces{"shop.orders", "crm.*"}, cfg.Include)
	require.Equal(t, slog.LevelDebug, cfg.LogLevel)
	require.Equal(t, ":9090", cfg.OpsAddr)
	require.Equal(t, "atlas-to-local", cfg.Flow)
	require.Equal(t, settings.NewURI("nats://127.0.0.1:4222"), cfg.NATS.URL)
	require.Equal(t, 25*time.Second, cfg.ShutdownGrace)
}

func TestLoadListsEveryMistakeAtOnce(t *testing.T) {
	t.Parallel()

	var cfg config

	err := settings.Load(&cfg, map[string]string{
		"FLOW":        "Atlas",
		"LOG_FORMAT":  "xml",
		"LOG_LEVEL":   "loud",
		"BATCH_SIZE":  "many",
		"IDLE_AFTER":  "0s",
		"MAX_AGE":     "2",
		"MAX_BYTES":   "8MB",
		"EAGER":       "perhaps",
		"DELAYS":      "1s,,2s",
		"INCLUDE":     "orders",
		"FULL_LOOKUP": "sometimes",
		"BATCH_SIZ":   "5",
	})

	refused, ok := errors.AsType[*settings.Error](err)
	require.True(t, ok, "%v", err)
	require.Equal(t, 2, refused.ExitCode())
	require.Equal(t, `13 settings are wrong:
  BATCH_SIZ: is not a setting (did you mean BATCH_SIZE?)
  FLOW=Atlas: must be 1 to 32 of a-z, 0-9 and -, not beginning with - (for example FLOW=atlas-to-local)
  LOG_LEVEL=loud: must be one of debug, info, warn, error (for example LOG_LEVEL=info)
  LOG_FORMAT=xml: must be one of json, text (for example LOG_FORMAT=json)
  TARGET_URI: is required but not set: MongoDB to write to (for example TARGET_URI=mongodb://host:27017/?replicaSet=rs0)
  BATCH_SIZE=many: must be a whole number (for example BATCH_SIZE=100)
  IDLE_AFTER=0s: must be at least 1ms (for example IDLE_AFTER=1s)
  MAX_AGE=2: must be a duration (for example MAX_AGE=2s)
  MAX_BYTES=8MB: must be a number of bytes, or one with KiB, MiB, GiB or TiB (for example MAX_BYTES=8MiB)
  EAGER=perhaps: must be true or false (for example EAGER=true)
  DELAYS=1s,,2s: must be a comma list of durations (for example DELAYS=1s,5s)
  INCLUDE=orders: must be a comma list of db.collection or db.* (for example INCLUDE=shop.orders,crm.*)
  FULL_LOOKUP=sometimes: must be one of delta, always (for example FULL_LOOKUP=delta)`, err.Error())
}

func TestValidateOfEveryStructIsAskedOnce(t *testing.T) {
	t.Parallel()

	var cfg config

	err := settings.Load(&cfg, map[string]string{
		"TARGET_URI": uri, "FLOW": "Atlas", "NATS_CERT": "/c.pem", "MAX_AGE": "10ms",
	})
	require.EqualError(t, err, `3 settings are wrong:
  FLOW=Atlas: must be 1 to 32 of a-z, 0-9 and -, not beginning with - (for example FLOW=atlas-to-local)
  NATS_KEY: must be set together with its other half (set both NATS_CERT and NATS_KEY, or neither)
  MAX_AGE=10ms: must not be shorter than IDLE_AFTER`)

	type onlyCommon struct{ settings.Common }

	err = settings.Load(&onlyCommon{}, map[string]string{"FLOW": "Atlas"})
	require.ErrorContains(t, err, "1 setting is wrong", "the promoted method is the same check")
}

func TestAnEmptyVariableIsNoValue(t *testing.T) {
	t.Parallel()

	var cfg config

	err := settings.Load(&cfg, map[string]string{"TARGET_URI": "", "TOKEN": "", "BATCH_SIZ": ""})
	require.ErrorContains(t, err, "1 setting is wrong:\n  TARGET_URI: is required")
}

func TestSecretsComeFromFiles(t *testing.T) {
	t.Parallel()

	dir := t.TempDir()
	file := filepath.Join(dir, "uri")
	require.NoError(t, os.WriteFile(file, []byte(uri+"\r\n"), 0o600))

	var cfg config
	require.NoError(t, settings.Load(&cfg, map[string]string{"TARGET_URI_FILE": file}))
	require.Equal(t, uri, cfg.TargetURI.Reveal())

	absent := filepath.Join(dir, "absent")
	err := settings.Load(&cfg, map[string]string{
		"TARGET_URI_FILE": absent, "TOKEN": "hunter2", "TOKEN_FILE": file, "BATCH_SIZE_FILE": file,
	})
	require.EqualError(t, err, `3 settings are wrong:
  TARGET_URI_FILE=`+absent+`: must name a readable file: no such file or directory (check the path and its permissions)
  TOKEN_FILE=`+file+`: is set beside TOKEN (keep one of the two)
  BATCH_SIZE_FILE: only secrets can be read from a file (set BATCH_SIZE)`)
}

func TestMisspellings(t *testing.T) {
	t.Parallel()

	for name, accused := range map[string]bool{
		"BATCH_SIZ": true, "BATCH_SIZES": true, "BATCH_SIZF": true, "BATHC_SIZE": true, "BTACH_SIZE": true,
		"TARGET_URL": true, "TARGET_UR_FILE": true,
		"BATCH": false, "BATCH_SI": false, "NATS_PORT": false, "TARGET_URIS": false, "TARGET_URIS_FILE": false, "HOME": false,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()

			var cfg config

			err := settings.Load(&cfg, map[string]string{"TARGET_URI": uri, name: "x"})
			require.Equal(t, accused, err != nil, "%v", err)
		})
	}
}

func TestFieldsDescribeTheStruct(t *testing.T) {
	t.Parallel()

	fields := settings.Fields(&config{Common: settings.Common{OpsAddr: ":9090"}})

	byName := map[string]settings.Field{}

	for _, f := range fields {
		require.NotContains(t, byName, f.Name)
		require.NotEmpty(t, f.Help, f.Name)

		byName[f.Name] = f
	}

	require.Equal(t, "FLOW", fields[0].Name)
	require.Equal(t, ":9090", byName["OPS_ADDR"].Default)
	require.Equal(t, "size", byName["MAX_BYTES"].Type)
	require.Equal(t, []string{"delta", "always"}, byName["FULL_LOOKUP"].OneOf)
	require.True(t, byName["TARGET_URI"].Required)
	require.True(t, byName["TARGET_URI"].Secret)
	require.False(t, byName["BATCH_SIZE"].Secret)
}

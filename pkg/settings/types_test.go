package settings_test

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"encoding/xml"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"go.mongodb.org/mongo-driver/v2/bson"
	"pgregory.net/rapid"

	"github.com/atlas-relay/atlas-relay/pkg/settings"
)

// shy prints what fmt makes of its fields, which it cannot ask to redact themselves.
type shy struct {
	token settings.Secret
	uri   *settings.URI
	deep  map[string][]settings.URI
}

func TestSecretsDoNotShow(t *testing.T) {
	t.Parallel()

	value := struct {
		Token settings.Secret
		URI   settings.URI
	}{settings.NewSecret("hunter2"), settings.NewURI("mongodb://user:hunter2@host/?tls=true")}
	hidden := shy{value.Token, &value.URI, map[string][]settings.URI{"flow": {value.URI}}}

	var shown bytes.Buffer

	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d"} {
		for _, v := range []any{value, &value, value.Token, value.URI, hidden, &hidden} {
			fmt.Fprintf(&shown, verb, v)
		}
	}

	slog.New(slog.NewJSONHandler(&shown, nil)).Info("settings", slog.Any("all", value), slog.Any("token", value.Token), slog.Any("uri", value.URI))
	slog.New(slog.NewTextHandler(&shown, nil)).Info("settings", slog.Any("all", value), slog.Any("hidden", hidden), slog.Any("token", value.Token), slog.Any("uri", value.URI))
	require.NoError(t, json.NewEncoder(&shown).Encode(value))
	require.NoError(t, xml.NewEncoder(&shown).Encode(value.URI))

	stored, err := bson.MarshalExtJSON(bson.M{"settings": value, "uri": value.URI}, false, false)
	require.NoError(t, err)
	shown.Write(stored)

	require.NotContains(t, shown.String(), "hunter2")
	require.NotContains(t, strings.ToLower(shown.String()), hex.EncodeToString([]byte("hunter2")))
	require.Contains(t, shown.String(), "[redacted]")
	require.Equal(t, "hunter2", value.Token.Reveal())
	require.Empty(t, settings.Secret{}.Reveal())
	require.True(t, settings.NewSecret("").IsZero())
	require.Empty(t, fmt.Sprint(settings.Secret{}), "an unset secret may show that it is")
}

func TestURIKeepsWhatIsHarmless(t *testing.T) {
	t.Parallel()

	for raw, shown := range map[string]string{
		"mongodb://host:27017/?replicaSet=rs0":                                "mongodb://host:27017/?replicaSet=rs0",
		"mongodb+srv://u:p@cluster.example.net/db?w=majority":                 "mongodb+srv://[redacted]@cluster.example.net/db?w=majority",
		"mongodb://u:p@a:1,b:2/":                                              "mongodb://[redacted]@a:1,b:2/",
		"mongodb://u:p@[::1]:27017/db":                                        "mongodb://[redacted]@[::1]:27017/db",
		"mongodb://u:p@w@h/":                                                  "mongodb://[redacted]@h/",
		"mongodb://u:p?w=1@h/":                                                "mongodb://[redacted]@h/",
		"mongodb://h/?authMechanismProperties=AWS_SESSION_TOKEN:abc&tls=true": "mongodb://h/?tls=true",
		"mongodb://h/?sslClientCertificateKeyPassword=abc":                    "mongodb://h/",
		"nats://u:p@a:4222,nats://v:q@b:4222":                                 "nats://[redacted]@a:4222,nats://[redacted]@b:4222",
		"nats://token@a:4222":                                                 "nats://[redacted]@a:4222",
		"mongodb://u:p://x,y@h/":                                              "mongodb://[redacted]@h/",
		"u:p@host":                                                            "[redacted]@host",
		"127.0.0.1:4222":                                                      "127.0.0.1:4222",
		// Where the @ is missing or written as %40, or the whole is none.
		"mongodb://user:pass":       "mongodb://[redacted]",
		"mongodb://user:pass%40h/x": "mongodb://[redacted]",
		"mongodb://user:p/ass":      "mongodb://[redacted]",
		"pass":                      "[redacted]",
		"user:pass":                 "[redacted]",
		"":                          "",
	} {
		require.Equal(t, shown, settings.NewURI(raw).String())
	}
}

func TestNoPartOfAPasswordShows(t *testing.T) {
	t.Parallel()

	rapid.Check(t, func(t *rapid.T) {
		password := rapid.StringMatching(`[A-Z/?@:%&=,]{3,12}`).Draw(t, "password") + "SECRET"
		hosts := rapid.SampledFrom([]string{"h", "a:1,b:2"}).Draw(t, "hosts")

		if shown := settings.NewURI("mongodb://user:" + password + "@" + hosts + "/?tls=true").String(); strings.Contains(shown, "SECRET") {
			t.Fatalf("%q shows a part of %q", shown, password)
		}
	})
}

func TestBytes(t *testing.T) {
	t.Parallel()

	for text, want := range map[string]settings.Bytes{
		"0": 0, "17": 17, "17B": 17, "1KiB": 1 << 10, "8 MiB": 8 << 20, "1GiB": 1 << 30, "2TiB": 2 << 40, "9223372036854775807": 1<<63 - 1,
	} {
		var got settings.Bytes
		require.NoError(t, got.UnmarshalText([]byte(text)), text)
		require.Equal(t, want, got, text)
	}

	for _, text := range []string{"", "MiB", "8MB", "1.5GiB", "-1", "8388608TiB", "9223372036854775808"} {
		var got settings.Bytes
		require.Error(t, got.UnmarshalText([]byte(text)), text)
	}

	rapid.Check(t, func(t *rapid.T) {
		size := settings.Bytes(rapid.Int64Min(0).Draw(t, "size") &^ 0x3ff)

		var got settings.Bytes
		if err := got.UnmarshalText([]byte(size.String())); err != nil || got != size {
			t.Fatalf("%d is written %s and read %d, %v", int64(size), size, int64(got), err)
		}
	})
}

func TestNamespaces(t *testing.T) {
	t.Parallel()

	var list settings.Namespaces
	require.NoError(t, list.UnmarshalText([]byte("shop.orders, crm.*,shop.a.b")))
	require.Equal(t, "shop.orders,crm.*,shop.a.b", list.String())

	require.True(t, list.Match("shop", "orders"))
	require.True(t, list.Match("crm", "anything.at.all"))
	require.True(t, list.Match("shop", "a.b"))
	require.False(t, list.Match("shop", "orders2"))
	require.False(t, list.Match("crm2", "x"))
	require.False(t, settings.Namespaces(nil).Match("shop", "orders"))

	for _, text := range []string{"", "shop", "shop.", ".orders", "*.*", "shop.or*", "a b.c", "shop.orders,,crm.*"} {
		require.Error(t, list.UnmarshalText([]byte(text)), text)
	}
}

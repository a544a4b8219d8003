package preflight

import (
	"crypto/tls"
	"log/slog"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/atlas-relay/atlas-relay/pkg/natstest"
	"github.com/atlas-relay/atlas-relay/pkg/settings"
	"github.com/atlas-relay/atlas-relay/pkg/tlsfiles"
	"github.com/atlas-relay/atlas-relay/pkg/tlstest"
)

// TestCertificatesNearTheirEnd: our own, the server's and those of the API are looked at, each for itself.
func TestCertificatesNearTheirEnd(t *testing.T) {
	t.Parallel()

	authority := tlstest.NewAuthority(t, "test")
	pool := authority.PEM()
	in := func(days int) tlstest.Wanted {
		return tlstest.Wanted{From: time.Now().AddDate(-1, 0, 0), To: time.Now().AddDate(0, 0, days)}
	}

	for name, c := range map[string]struct {
		ours, theirs, api int // days that are left
		want              map[string]Status
	}{
		"all well":             {100, 100, 100, map[string]Status{"TLS001": OK, "TLS002": OK, "TLS003": OK}},
		"ours ends":            {20, 100, 100, map[string]Status{"TLS001": Warning, "TLS002": OK, "TLS003": OK}},
		"the server's ends":    {100, 20, 100, map[string]Status{"TLS001": OK, "TLS002": Warning, "TLS003": OK}},
		"the API's ends":       {100, 100, 20, map[string]Status{"TLS001": OK, "TLS002": OK, "TLS003": Warning}},
		"the API's has ended":  {100, 100, -1, map[string]Status{"TLS001": OK, "TLS002": OK, "TLS003": Failed}},
		"the server's is past": {100, -1, 100, map[string]Status{"NTS001": Failed, "TLS001": OK, "TLS002": Skipped}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()

			dir := t.TempDir()
			server := natstest.Start(t, natstest.Options{TLS: &tls.Config{
				MinVersion: tls.VersionTLS13, Certificates: []tls.Certificate{authority.Issue(t, in(c.theirs)).Certificate(t)},
			}})

			var api tlsfiles.Files

			at := settings.NATS{URL: settings.NewURI(server.URL()), CA: tlstest.Write(t, dir, "ca.pem", pool)}
			at.Cert, at.Key = authority.Issue(t, in(c.ours)).Write(t, dir, "ours")
			api.Cert.Setting = "API_CERT"
			api.Cert.Path, api.Key.Path = authority.Issue(t, in(c.api)).Write(t, dir, "api")

			w := New(Options{Flow: "test", NATS: at, API: api, Log: slog.New(slog.DiscardHandler)})
			defer w.Close(t.Context())

			got := map[string]Finding{}
			for _, f := range Run(t.Context(), w, pick("CFG002", "NTS001", "TLS001", "TLS002", "TLS003")) {
				got[f.Code] = f
			}

			for code, status := range c.want {
				require.Equal(t, status, got[code].Status, "%+v", got[code])

				if status == Warning {
					require.Contains(t, got[code].What, "expires at")
					require.NotEmpty(t, got[code].Remedy)
					require.NotEmpty(t, got[code].Where)
				}
			}
		})
	}
}

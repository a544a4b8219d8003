package mongodb_test

import (
	"context"
	"crypto/tls"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/atlas-relay/atlas-relay/pkg/mongodb"
	"github.com/atlas-relay/atlas-relay/pkg/mongotest"
	"github.com/atlas-relay/atlas-relay/pkg/settings"
	"github.com/atlas-relay/atlas-relay/pkg/tlstest"
)

// TestCertificatesOfTheServer: one that is for another host, or not for today, is refused and named; one that was exchanged
// for that of another authority is taken where the bundle has both.
func TestCertificatesOfTheServer(t *testing.T) {
	t.Parallel()

	before, after := tlstest.NewAuthority(t, "before"), tlstest.NewAuthority(t, "after")
	bundle := tlstest.Write(t, t.TempDir(), "ca.pem", append(before.PEM(), after.PEM()...))

	var shown atomic.Pointer[tls.Certificate]

	show := func(a *tlstest.Authority, w tlstest.Wanted) {
		certificate := a.Issue(t, w).Certificate(t)
		shown.Store(&certificate)
	}

	show(before, tlstest.Wanted{})

	addr := secureFront(t, mongotest.Shared(t).Addr(), &tls.Config{
		MinVersion: tls.VersionTLS12, GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return shown.Load(), nil },
	})
	hello := func() error {
		client, err := mongodb.Connect(settings.NewURI("mongodb://"+addr+"/?directConnection=true&tls=true&tlsCAFile="+bundle),
			mongodb.Options{ServerSelectionTimeout: 3 * time.Second})
		require.NoError(t, err)

		defer func() { require.NoError(t, mongodb.Disconnect(t.Context(), client)) }()

		ctx, cancel := context.WithTimeout(t.Context(), 4*time.Second)
		defer cancel()

		_, err = mongodb.SayHello(ctx, client)

		return err
	}
	welcome := func() {
		t.Helper()
		require.Eventually(t, func() bool { return hello() == nil }, time.Minute, time.Millisecond)
	}

	welcome()

	for says, wanted := range map[string]tlstest.Wanted{
		"expired":         {From: time.Now().AddDate(-1, 0, 0), To: time.Now().Add(-time.Hour)},
		"not yet valid":   {From: time.Now().Add(time.Hour), To: time.Now().AddDate(1, 0, 0)},
		"cannot validate": {Hosts: []string{"elsewhere.example.net"}},
	} {
		show(before, wanted)

		require.Eventually(t, func() bool {
			err := hello()

			return err != nil && strings.Contains(err.Error(), says) && strings.Contains(mongodb.Explain(err), "TLS")
		}, time.Minute, time.Millisecond, says)
	}

	show(after, tlstest.Wanted{})
	welcome()
}

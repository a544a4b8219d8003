package tlsfiles_test

import (
	"context"
	"log/slog"
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"

	"github.com/atlas-relay/atlas-relay/pkg/logtest"
	"github.com/atlas-relay/atlas-relay/pkg/tlsfiles"
	"github.com/atlas-relay/atlas-relay/pkg/tlstest"
)

// look is longer than the time between two looks at the files.
const look = 1100 * time.Millisecond

// scene is a store that is watched, and what the watch has to say.
type scene struct {
	*testing.T
	*place

	authority *tlstest.Authority
	store     *tlsfiles.Store
	log       *logtest.Buffer
}

// watched runs test beside a watch, with time that passes as soon as everybody waits.
func watched(t *testing.T, pair func(a *tlstest.Authority) tlstest.Pair, test func(s *scene)) {
	t.Helper()

	synctest.Test(t, func(t *testing.T) {
		authority := tlstest.NewAuthority(t, "test")
		p := newPlace(t, pair(authority), authority)
		s := &scene{T: t, place: p, authority: authority, store: p.open(t), log: new(logtest.Buffer)}

		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)

		go func() { done <- s.store.Watch(ctx, slog.New(slog.NewJSONHandler(s.log, nil))) }()

		synctest.Wait()
		test(s)
		cancel()
		require.NoError(t, <-done)
	})
}

func fresh(t *testing.T) func(*tlstest.Authority) tlstest.Pair {
	t.Helper()

	return func(a *tlstest.Authority) tlstest.Pair { return a.Issue(t, tlstest.Wanted{}) }
}

// metric is the value of one setting's metric.
func metric(t *testing.T, s *tlsfiles.Store, name, setting string) float64 {
	t.Helper()

	registry := prometheus.NewPedanticRegistry()
	registry.MustRegister(s)

	families, err := registry.Gather()
	require.NoError(t, err)

	for _, family := range families {
		for _, m := range family.GetMetric() {
			if family.GetName() == name && m.GetLabel()[0].GetValue() == setting {
				return m.GetGauge().GetValue()
			}
		}
	}

	require.Fail(t, "no metric "+name)

	return 0
}

func TestFilesThatCannotBeUsedChangeNothing(t *testing.T) {
	t.Parallel()

	for name, spoil := range map[string]func(t *testing.T, a *tlstest.Authority, p *place){
		"absent": func(_ *testing.T, _ *tlstest.Authority, p *place) { _ = os.Remove(p.files.Cert.Path) },
		"garbage": func(t *testing.T, _ *tlstest.Authority, p *place) {
			t.Helper()
			tlstest.Write(t, p.dir, "server.pem", []byte("x"))
		},
		"another's key": func(t *testing.T, a *tlstest.Authority, p *place) {
			t.Helper()
			tlstest.Write(t, p.dir, "server.key", a.Issue(t, tlstest.Wanted{}).Key)
		},
		"expired": func(t *testing.T, a *tlstest.Authority, p *place) {
			t.Helper()
			a.Issue(t, tlstest.Wanted{From: time.Now().AddDate(-1, 0, 0), To: time.Now().Add(-time.Second)}).Write(t, p.dir, "server")
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			watched(t, fresh(t), func(s *scene) {
				before := s.store.Certificate().Leaf.SerialNumber

				spoil(s.T, s.authority, s.place)
				time.Sleep(5 * look)
				require.Equal(s, before, s.store.Certificate().Leaf.SerialNumber)
				require.Equal(s, 1, strings.Count(s.log.String(), `"level":"ERROR"`), "told, and once")
				require.InDelta(s, 1, metric(s.T, s.store, "relay_certificate_rejected", "API_CERT"), 0)

				s.authority.Issue(s.T, tlstest.Wanted{}).Write(s.T, s.dir, "server")
				time.Sleep(2 * look)
				require.NotEqual(s, before, s.store.Certificate().Leaf.SerialNumber)
				require.InDelta(s, 0, metric(s.T, s.store, "relay_certificate_rejected", "API_CERT"), 0)
				require.Positive(s, strings.Count(s.log.String(), "certificate file was read again"))
			})
		})
	}
}

// TestACertificateBeforeItsKey is what a renewal looks like in between.
func TestACertificateBeforeItsKey(t *testing.T) {
	t.Parallel()
	watched(t, fresh(t), func(s *scene) {
		next := s.authority.Issue(s.T, tlstest.Wanted{})

		tlstest.Write(s.T, s.dir, "server.pem", next.Cert)
		time.Sleep(look)
		tlstest.Write(s.T, s.dir, "server.key", next.Key)
		time.Sleep(look)
		require.Zero(s, strings.Count(s.log.String(), `"level":"ERROR"`))
		require.Equal(s, next.Certificate(s.T).Leaf.SerialNumber, s.store.Certificate().Leaf.SerialNumber)
	})
}

func TestRenewalIsAskedForInTime(t *testing.T) {
	t.Parallel()

	const day = 24 * time.Hour

	for name, test := range map[string]struct {
		life, left time.Duration
		due        bool
		line       string
	}{
		"a year, 31 days left":   {365 * day, 31 * day, false, ""},
		"a year, 29 days left":   {365 * day, 29 * day, true, "should have been renewed"},
		"90 days, 23 left":       {90 * day, 23 * day, false, ""},
		"90 days, 22 left":       {90 * day, 22 * day, true, "should have been renewed"},
		"a day, five hours":      {day, 5 * time.Hour, true, "should have been renewed"},
		"a day that is over":     {day, -time.Minute, true, "certificate has expired"},
		"a day, half of it left": {day, day / 2, false, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()

			pair := func(a *tlstest.Authority) tlstest.Pair {
				end := time.Now().Add(test.left)

				return a.Issue(t, tlstest.Wanted{From: end.Add(-test.life), To: end})
			}
			watched(t, pair, func(s *scene) {
				time.Sleep(3 * look)

				if !test.due {
					require.InDelta(s, 0, metric(s.T, s.store, "relay_certificate_renewal_due", "API_CERT"), 0)
					require.Zero(s, strings.Count(s.log.String(), "setting"))

					return
				}

				require.Equal(s, 1, strings.Count(s.log.String(), test.line), "once a day")
				require.InDelta(s, 1, metric(s.T, s.store, "relay_certificate_renewal_due", "API_CERT"), 0)
				require.InDelta(s, time.Now().Add(test.left).Unix(), metric(s.T, s.store, "relay_certificate_expiry_timestamp_seconds", "API_CERT"), 10)
				require.InDelta(s, 0, metric(s.T, s.store, "relay_certificate_renewal_due", "API_CLIENT_CA"), 0)

				s.authority.Issue(s.T, tlstest.Wanted{}).Write(s.T, s.dir, "server")
				time.Sleep(look)
				require.InDelta(s, 0, metric(s.T, s.store, "relay_certificate_renewal_due", "API_CERT"), 0)
			})
		})
	}
}

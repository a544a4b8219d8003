package permissions

import (
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/atlas-relay/atlas-relay/e2e/harness"
	"github.com/atlas-relay/atlas-relay/pkg/natsconn"
	"github.com/atlas-relay/atlas-relay/pkg/natstest"
	"github.com/atlas-relay/atlas-relay/pkg/settings"
	"github.com/atlas-relay/atlas-relay/pkg/topology"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// leastForbidden is how many calls each role is refused, or the table has become thin.
const leastForbidden = 40

// secured starts a server with the configuration of deploy/nats.
func secured(t *testing.T) (*harness.Secured, *natstest.Server) {
	t.Helper()

	s, err := harness.Secure(t.Context(), t.TempDir(), flow)
	require.NoError(t, err)

	for name, value := range s.Env {
		t.Setenv(name, value)
	}

	return s, natstest.Start(t, natstest.Options{Config: s.Config})
}

// connect opens the connection of a role.
func connect(t *testing.T, s *harness.Secured, at *natstest.Server, role string) *nats.Conn {
	t.Helper()

	as, err := nats.NkeyOptionFromSeed(s.Seeds[role])
	require.NoError(t, err)

	nc, err := nats.Connect(at.URL(), as, nats.ErrorHandler(func(*nats.Conn, *nats.Subscription, error) {})) // LastError has it
	require.NoError(t, err)
	t.Cleanup(nc.Close)

	return nc
}

// refused makes the call and tells whether the server refuses it. The server answers the flush after the refusal.
func (c *call) refused(t *testing.T, nc *nats.Conn) bool {
	t.Helper()

	what := `Publish to "` + c.subject + `"`

	if c.subscribe {
		what = `Subscription to "` + c.subject + `"`
		sub, err := nc.SubscribeSync(c.subject)
		require.NoError(t, err)

		defer func() { _ = sub.Unsubscribe() }() // a refused one is none
	} else {
		require.NoError(t, nc.Publish(c.subject, nil))
	}

	require.NoError(t, nc.Flush())

	err := nc.LastError()

	return err != nil && strings.Contains(err.Error(), what)
}

// TestRoles makes every call as every role.
func TestRoles(t *testing.T) {
	s, at := secured(t)

	for _, role := range harness.Roles() {
		t.Run(role, func(t *testing.T) {
			nc := connect(t, s, at, role)
			forbidden := 0

			for _, c := range calls() {
				mayNot := !strings.Contains(c.roles, role[:1])
				require.Equal(t, mayNot, c.refused(t, nc), "%s, subscribe: %t", c.subject, c.subscribe)

				if mayNot {
					forbidden++
				}
			}

			require.GreaterOrEqual(t, forbidden, leastForbidden)
			t.Logf("%d calls refused, %d taken", forbidden, len(calls())-forbidden)
		})
	}
}

// TestNobodyElse: there is no user without a key, and none but those of the table.
func TestNobodyElse(t *testing.T) {
	s, at := secured(t)

	_, err := nats.Connect(at.URL())
	require.ErrorIs(t, err, nats.ErrAuthorization)

	_, err = nats.Connect(at.URL(), nats.UserInfo("relay", "relay"))
	require.ErrorIs(t, err, nats.ErrAuthorization)

	stranger, err := harness.Secure(t.Context(), t.TempDir(), flow)
	require.NoError(t, err)

	as, err := nats.NkeyOptionFromSeed(stranger.Seeds["operator"])
	require.NoError(t, err)

	_, err = nats.Connect(at.URL(), as)
	require.ErrorIs(t, err, nats.ErrAuthorization)

	options, err := server.ProcessConfigFile(s.Config)
	require.NoError(t, err)
	require.Empty(t, options.NoAuthUser)
	require.Len(t, options.Nkeys, len(harness.Roles()))
	require.Empty(t, options.Users)
	require.Len(t, options.Accounts, 1)
}

// TestStreamsOfBefore: a server that ran without accounts goes on with its streams once they are where secured.conf says.
func TestStreamsOfBefore(t *testing.T) {
	store := t.TempDir()
	before := natstest.Start(t, natstest.Options{StoreDir: store})

	_, err := topology.Create(t.Context(), before.JetStream(t), flow, topology.Settings{StreamID: "of-before", Partitions: 2, Source: "rs0", FirstToken: "x"}, 1<<26)
	require.NoError(t, err)
	before.Stop()

	require.NoError(t, os.Rename(filepath.Join(store, "jetstream", "$G"), filepath.Join(store, "jetstream", "RELAY")))

	s, err := harness.Secure(t.Context(), t.TempDir(), flow)
	require.NoError(t, err)

	for name, value := range s.Env {
		t.Setenv(name, value)
	}

	at := natstest.Start(t, natstest.Options{StoreDir: store, Config: s.Config})

	nc, err := natsconn.Connect(settings.NATS{URL: settings.NewURI(at.URL()), Creds: s.Seeds["operator"]},
		natsconn.Options{Inbox: topology.OperatorInbox(flow)}, slog.New(slog.DiscardHandler))
	require.NoError(t, err)
	t.Cleanup(nc.Close)

	js, err := jetstream.New(nc)
	require.NoError(t, err)

	stream, err := topology.Open(t.Context(), js, flow)
	require.NoError(t, err)
	require.Equal(t, "of-before", stream.StreamID)
}

// TestTableIsComplete: whatever the configuration allows a role is in the table as allowed.
func TestTableIsComplete(t *testing.T) {
	s, _ := secured(t)

	options, err := server.ProcessConfigFile(s.Config)
	require.NoError(t, err)

	for _, user := range options.Nkeys {
		i := slices.IndexFunc(harness.Roles(), func(role string) bool { return s.Env["RELAY_"+strings.ToUpper(role)+"_NKEY"] == user.Nkey })
		require.GreaterOrEqual(t, i, 0)

		role := harness.Roles()[i]

		covered := func(pattern string, subscribe bool) bool {
			return slices.ContainsFunc(calls(), func(c call) bool {
				return c.subscribe == subscribe && strings.Contains(c.roles, role[:1]) && server.SubjectsCollide(pattern, c.subject)
			})
		}

		for _, pattern := range user.Permissions.Publish.Allow {
			require.True(t, covered(pattern, false), "%s may publish to %s", role, pattern)
		}

		for _, pattern := range user.Permissions.Subscribe.Allow {
			require.True(t, covered(pattern, true), "%s may subscribe to %s", role, pattern)
		}

		require.Empty(t, user.Permissions.Publish.Deny)
		require.Nil(t, user.Permissions.Response)
	}
}

package natsconn_test

import (
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nkeys"
	"github.com/stretchr/testify/require"

	"github.com/atlas-relay/atlas-relay/pkg/lifecycle"
	"github.com/atlas-relay/atlas-relay/pkg/natsconn"
	"github.com/atlas-relay/atlas-relay/pkg/natstest"
	"github.com/atlas-relay/atlas-relay/pkg/settings"
)

// key makes a user's key.
func key(t *testing.T) (seed, public string) {
	t.Helper()

	pair, err := nkeys.CreateUser()
	require.NoError(t, err)

	private, err := pair.Seed()
	require.NoError(t, err)

	public, err = pair.PublicKey()
	require.NoError(t, err)

	return string(private), public
}

func write(t *testing.T, name, content string) (path string) {
	t.Helper()

	path = filepath.Join(t.TempDir(), name)
	require.NoError(t, os.WriteFile(path, []byte(content), 0o600))

	return path
}

// limited starts a server with one user, who may ask on one subject and has an inbox of his own.
func limited(t *testing.T, public string) *natstest.Server {
	t.Helper()

	return natstest.Start(t, natstest.Options{Config: write(t, "nats.conf", fmt.Sprintf(
		`authorization { users: [{nkey: %s, permissions: {publish: ["ask", "_INBOX_own.>"], subscribe: ["_INBOX_own.>", "ask"]}}] }`, public))})
}

// TestSeedOfAnNKey: a file with a seed alone is what a server whose configuration lists its users asks for, and replies
// come to the inbox of the role.
func TestSeedOfAnNKey(t *testing.T) {
	t.Parallel()

	seed, public := key(t)
	server := limited(t, public)

	dial := func(inbox string) *nats.Conn {
		at := settings.NATS{URL: settings.NewURI(server.URL()), Creds: write(t, "user.nk", seed+"\n")}

		nc, err := natsconn.Connect(at, natsconn.Options{Inbox: inbox}, slog.New(slog.DiscardHandler))
		require.NoError(t, err)
		t.Cleanup(nc.Close)

		return nc
	}

	answering := dial("_INBOX_own")
	_, err := answering.Subscribe("ask", func(m *nats.Msg) { _ = m.Respond([]byte("answer")) })
	require.NoError(t, err)
	require.NoError(t, answering.Flush())

	reply, err := dial("_INBOX_own").Request("ask", nil, waitLimit)
	require.NoError(t, err)
	require.Equal(t, "answer", string(reply.Data))
	require.True(t, strings.HasPrefix(reply.Subject, "_INBOX_own."))

	elsewhere := dial("")
	_, err = elsewhere.SubscribeSync(elsewhere.NewInbox())
	require.NoError(t, err)
	require.NoError(t, elsewhere.Flush())
	require.ErrorIs(t, elsewhere.LastError(), nats.ErrPermissionViolation)
}

func TestCredentialsThatCannotBeUsed(t *testing.T) {
	t.Parallel()

	seed, public := key(t)
	server := limited(t, public)

	account, err := nkeys.CreateAccount()
	require.NoError(t, err)

	accountSeed, err := account.Seed()
	require.NoError(t, err)

	jwt := "-----BEGIN NATS USER JWT-----\neyJhunter2\n------END NATS USER JWT------\n\n"

	for name, path := range map[string]string{
		"absent":             filepath.Join(t.TempDir(), "absent"),
		"a directory":        t.TempDir(),
		"empty":              write(t, "empty", ""),
		"no key":             write(t, "none", "hunter2\n"),
		"an account's":       write(t, "account", string(accountSeed)),
		"cut off":            write(t, "cut", seed[:40]),
		"a JWT without key":  write(t, "half", jwt),
		"a JWT and half one": write(t, "half.creds", jwt+"-----BEGIN USER NKEY SEED-----\n"+seed[:40]+"\n------END USER NKEY SEED------\n"),
	} {
		_, err := natsconn.Connect(settings.NATS{URL: settings.NewURI(server.URL()), Creds: path}, natsconn.Options{Wait: true}, slog.New(slog.DiscardHandler))
		require.ErrorAs(t, err, new(*natsconn.CredentialsError), name)
		require.Equal(t, 2, lifecycle.ExitCode(err), name)
		require.Equal(t, 1, strings.Count(err.Error(), path), "%s: %v", name, err)
		require.NotContains(t, err.Error(), "hunter2", name)
		require.NotContains(t, err.Error(), seed[:40], name)
		require.NotContains(t, err.Error(), string(accountSeed), name)
	}
}

// TestURLsThatAreNoneAreNotQuoted: the client's error would.
func TestURLsThatAreNoneAreNotQuoted(t *testing.T) {
	t.Parallel()

	for _, url := range []string{"://relay:hunter2@", "nats://relay:hunter2%zz@127.0.0.1:1", "nats://relay:hunter2", "nats://a:b@127.0.0.1:1,nats://c:hunter2@127.0.0.1:port"} {
		at := settings.NATS{URL: settings.NewURI(url)}

		_, err := natsconn.Connect(at, natsconn.Options{}, slog.New(slog.DiscardHandler))
		require.Error(t, err)
		require.NotContains(t, err.Error(), "hunter2")

		err = at.Validate()
		require.ErrorContains(t, err, "NATS_URL")
		require.NotContains(t, err.Error(), "hunter2")
	}
}

package access_test

import (
	"context"
	"log/slog"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/atlas-relay/atlas-relay/pkg/settings"
	"github.com/atlas-relay/atlas-relay/services/stats/internal/access"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	annsToken  = "0123456789abcdef-ann"
	boardToken = "0123456789abcdef-board"
)

func write(t *testing.T, content string) (path string) {
	t.Helper()

	path = filepath.Join(t.TempDir(), "tokens")
	require.NoError(t, os.WriteFile(path, []byte(content), 0o600))

	return path
}

func tokens(t *testing.T) *access.Tokens {
	t.Helper()

	loaded, err := access.LoadTokens(write(t, "# who may\n\nann operator "+annsToken+"\n  board\tviewer "+boardToken+"\n"))
	require.NoError(t, err)

	return loaded
}

// The table of the package comment, row by row.
func TestAdmit(t *testing.T) {
	t.Parallel()

	local := access.Caller{Addr: "127.0.0.1:1", Local: true}
	remote := access.Caller{Addr: "192.0.2.1:1"}
	rebound := access.Caller{Addr: "127.0.0.1:1", Local: true, Rebound: true}
	with := func(c access.Caller, token string) access.Caller { c.Token = settings.NewSecret(token); return c }

	for name, test := range map[string]struct {
		caller access.Caller
		open   access.Role
		file   bool
		most   access.Role // that is admitted
	}{
		"local, no file":                 {local, access.Nobody, false, access.Operator},
		"local beside a file":            {local, access.Nobody, true, access.Viewer},
		"local, open to operators":       {local, access.Operator, true, access.Operator},
		"remote":                         {remote, access.Nobody, false, access.Nobody},
		"remote beside a file":           {remote, access.Nobody, true, access.Nobody},
		"remote, open to viewers":        {remote, access.Viewer, true, access.Viewer},
		"remote, open to operators":      {remote, access.Operator, false, access.Operator},
		"rebound":                        {rebound, access.Nobody, false, access.Nobody},
		"rebound, open to operators":     {rebound, access.Operator, false, access.Nobody},
		"rebound with a token":           {with(rebound, annsToken), access.Nobody, true, access.Operator},
		"remote operator":                {with(remote, annsToken), access.Nobody, true, access.Operator},
		"remote viewer":                  {with(remote, boardToken), access.Nobody, true, access.Viewer},
		"viewer, open to operators":      {with(remote, boardToken), access.Operator, true, access.Viewer},
		"local viewer":                   {with(local, boardToken), access.Nobody, true, access.Viewer},
		"wrong token":                    {with(remote, annsToken+"x"), access.Operator, true, -1},
		"wrong token, local":             {with(local, "x"), access.Operator, true, -1},
		"a token where there is no file": {with(local, annsToken), access.Operator, false, -1},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()

			guard := access.New(test.open, access.Operator, nil)
			if test.file {
				guard = access.New(test.open, access.Viewer, tokens(t))
			}

			for _, needs := range []access.Role{access.Nobody, access.Viewer, access.Operator} {
				id, err := guard.Admit(test.caller, needs)

				switch {
				case test.most == -1:
					require.ErrorIs(t, err, access.ErrBadToken)
				case needs <= test.most:
					require.NoError(t, err, needs)
					require.Equal(t, test.caller.Addr, id.Addr)
				case test.caller.Token.IsZero():
					require.ErrorIs(t, err, access.ErrNoToken, needs)
				default:
					require.ErrorAs(t, err, new(*access.RoleError), needs)
				}
			}
		})
	}
}

// TestHostWithAProxy: what comes from a host whose proxy does not name itself has no role.
func TestHostWithAProxy(t *testing.T) {
	t.Parallel()

	_, err := access.New(access.Nobody, access.Nobody, nil).Admit(access.Caller{Local: true}, access.Viewer)
	require.ErrorIs(t, err, access.ErrNoToken)

	_, err = access.New(access.Viewer, access.Nobody, nil).Admit(access.Caller{Local: true}, access.Viewer)
	require.NoError(t, err, "no less than others")
}

func TestIdentityHasTheNameOfTheToken(t *testing.T) {
	t.Parallel()

	id, err := access.New(access.Nobody, access.Viewer, tokens(t)).Admit(access.Caller{Addr: "a", Token: settings.NewSecret(annsToken)}, access.Operator)
	require.NoError(t, err)
	require.Equal(t, access.Identity{Role: access.Operator, Token: "ann", Addr: "a"}, id)
	require.Equal(t, id, access.From(access.With(t.Context(), id)))
	require.Zero(t, access.From(t.Context()))
}

func TestMistakesOfTheFileAreToldAtOnceAndNoSecret(t *testing.T) {
	t.Parallel()

	_, err := access.LoadTokens(write(t, "ann operator "+annsToken+"\nbob boss 0123456789abcdef-bob\nann viewer 0123456789abcdef-two\neve viewer short\nlonely\nx none 0123456789abcdef-x\n"))
	for _, part := range []string{"line 2 has a role", "line 3 has the name", "line 4 has a secret", "line 5 must be", "line 6 has a role"} {
		require.ErrorContains(t, err, part)
	}

	require.NotContains(t, err.Error(), "0123456789abcdef")
	require.NotContains(t, err.Error(), "short")

	_, err = access.LoadTokens(filepath.Join(t.TempDir(), "absent"))
	require.ErrorIs(t, err, os.ErrNotExist)
}

// What a certificate brings beside what its caller may anyway.
func TestCertificates(t *testing.T) {
	t.Parallel()

	loaded, err := access.LoadTokens(write(t, "cert:ann operator\ncert:Bob  B. viewer\nboard viewer "+boardToken+"\n"))
	require.NoError(t, err)

	of := func(name string) access.Caller { return access.Caller{Addr: "192.0.2.1:1", Certificate: name} }
	with := func(c access.Caller, change func(c *access.Caller)) access.Caller { change(&c); return c }
	local := func(c *access.Caller) { c.Local = true }

	for name, test := range map[string]struct {
		caller access.Caller
		tokens *access.Tokens
		most   access.Role
		as     access.Identity
	}{
		"operator":            {of("ann"), loaded, access.Operator, access.Identity{Certificate: "ann"}},
		"viewer with a blank": {of("Bob B."), loaded, access.Viewer, access.Identity{Certificate: "Bob B."}},
		"without a line":      {of("eve"), loaded, access.Nobody, access.Identity{Certificate: "eve"}},
		"without, local":      {with(of("eve"), local), loaded, access.Viewer, access.Identity{Certificate: "eve"}},
		"viewer, no file":     {with(of("eve"), local), nil, access.Operator, access.Identity{Certificate: "eve"}},
		"beside a token":      {with(of("ann"), func(c *access.Caller) { c.Token = settings.NewSecret(boardToken) }), loaded, access.Viewer, access.Identity{Token: "board"}},
		"rebound":             {with(of("ann"), func(c *access.Caller) { c.Rebound = true }), loaded, access.Nobody, access.Identity{}},
	} {
		anonymous := access.Viewer
		if test.tokens == nil {
			anonymous = access.Operator
		}

		guard := access.New(access.Nobody, anonymous, test.tokens)

		id, err := guard.Admit(test.caller, test.most)
		require.NoError(t, err, name)
		require.Equal(t, test.as.Certificate, id.Certificate, name)
		require.Equal(t, test.as.Token, id.Token, name)

		if test.most == access.Operator {
			continue
		}

		_, err = guard.Admit(test.caller, test.most+1)
		if test.as == (access.Identity{}) {
			require.ErrorIs(t, err, access.ErrNoToken, name)

			continue
		}

		var role *access.RoleError
		require.ErrorAs(t, err, &role, name)
		require.Equal(t, test.as.Certificate, role.Certificate, name)
		require.Equal(t, test.most, role.Has, name)
	}

	_, err = access.LoadTokens(write(t, "cert:\ncert: viewer\ncert:ann\ncert:ann chief\ncert:ann viewer\ncert:ann operator\n"))
	for _, part := range []string{"line 1 must be: cert:name role", "line 2 must", "line 3 must be", "line 4 has a role", "line 6 has the certificate"} {
		require.ErrorContains(t, err, part)
	}

	require.NotContains(t, err.Error(), "line 5")
}

// A changed file counts soon; one with a mistake, or none, does not.
func TestTheFileIsReadAgain(t *testing.T) {
	t.Parallel()

	path := write(t, "ann operator "+annsToken+"\n")
	loaded, err := access.LoadTokens(path)
	require.NoError(t, err)

	guard := access.New(access.Nobody, access.Viewer, loaded)
	admits := func(token string) bool {
		_, err := guard.Admit(access.Caller{Token: settings.NewSecret(token)}, access.Viewer)

		return err == nil
	}

	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)

	go func() { done <- loaded.Watch(ctx, slog.New(slog.DiscardHandler)) }()

	becomes := func(token string, want bool) {
		t.Helper()
		require.Eventually(t, func() bool { return admits(token) == want }, time.Minute, 20*time.Millisecond)
	}

	require.NoError(t, os.WriteFile(path, []byte("broken\n"), 0o600))
	require.NoError(t, os.WriteFile(path, []byte("ann operator "+annsToken+"\nboard viewer "+boardToken+"\n"), 0o600))
	becomes(boardToken, true)
	require.True(t, admits(annsToken))

	require.NoError(t, os.WriteFile(path, []byte("board viewer "+boardToken+"\n"), 0o600))
	becomes(annsToken, false)
	require.NoError(t, os.Remove(path))
	require.True(t, admits(boardToken), "those that were read last stay valid")

	cancel()
	require.NoError(t, <-done)
}

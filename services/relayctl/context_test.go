package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// place is a user's home with contexts in it.
type place struct {
	t    *testing.T
	home string
}

func newPlace(t *testing.T) *place {
	t.Helper()

	return &place{t, t.TempDir()}
}

func (p *place) file() string { return filepath.Join(p.home, "atlas-relay", "contexts.yaml") }

func (p *place) run(environ []string, args ...string) result {
	p.t.Helper()

	return relayctl(p.t, append([]string{"XDG_CONFIG_HOME=" + p.home}, environ...), args...)
}

func (p *place) must(args ...string) string {
	p.t.Helper()

	r := p.run(nil, args...)
	require.Zero(p.t, r.code, "%v: %s", args, r.errOut)

	return r.out
}

func TestContexts(t *testing.T) {
	t.Parallel()

	p := newPlace(t)
	addr, _ := serveStats(t, "127.0.0.1:0", new(inventory))

	require.Contains(t, p.run(nil, "context", "list").errOut, "there are no contexts")

	p.must("context", "add", "prod", "--server", addr, "--flow", "atlas-to-local", "--token-file", filepath.Join(p.home, "token"))
	p.must("context", "add", "edge", "--server", "127.0.0.1:1", "--nats-url", "nats://edge:4222")
	require.NoError(t, os.WriteFile(filepath.Join(p.home, "token"), []byte(testToken), 0o600))

	info, err := os.Stat(p.file())
	require.NoError(t, err)
	require.Equal(t, os.FileMode(0o600), info.Mode().Perm())

	r := p.run(nil, "partitions")
	require.NotContains(t, r.out+r.errOut, "127.0.0.1:1 ", "none is in use: the default address is asked, whoever serves there")

	require.Contains(t, p.must("context", "use", "prod"), "prod is used from now on")
	require.Contains(t, p.must("partitions"), "APPLYING")
	require.Contains(t, p.must("context", "list"), "*        prod  "+addr+"  atlas-to-local")
	require.Contains(t, p.must("context", "show"), "token-file       "+filepath.Join(p.home, "token"))
	require.Contains(t, p.must("context", "list", "-o", "json"), `"name": "edge"`)

	r = p.run([]string{"FLOW=other"}, "context", "show", "prod")
	require.Contains(t, r.out, "(the environment's FLOW wins)")

	r = p.run(nil, "context", "add", "prod", "--server", "x:1")
	require.Equal(t, 2, r.code)
	require.Contains(t, r.errOut, "add --replace")

	p.must("context", "add", "prod", "--server", "x:1", "--replace")
	require.NotContains(t, p.must("context", "show", "prod"), "flow", "it is another one")

	p.must("context", "remove", "prod")
	require.NotContains(t, p.must("context", "list"), "prod")
	require.Contains(t, p.run(nil, "context", "show").errOut, "no context is in use")
}

// A flag wins over the environment, the environment over the context, the context over the default.
func TestPrecedence(t *testing.T) {
	t.Parallel()

	p := newPlace(t)
	addr, _ := serveStats(t, "127.0.0.1:0", new(inventory))
	p.must("context", "add", "good", "--server", addr)
	p.must("context", "add", "bad", "--server", "127.0.0.1:1", "--nats-url", "nats://127.0.0.1:2", "--flow", "of-the-context", "--use")

	away := 3

	for name, test := range map[string]struct {
		environ []string
		args    []string
		code    int
	}{
		"the one in use":               {nil, nil, away},
		"flag for another":             {nil, []string{"--context", "good"}, 0},
		"flag with =":                  {nil, []string{"--context=good"}, 0},
		"variable for another":         {[]string{"RELAYCTL_CONTEXT=good"}, nil, 0},
		"flag beats variable":          {[]string{"RELAYCTL_CONTEXT=good"}, []string{"--context", "bad"}, away},
		"environment beats context":    {[]string{"RELAY_STATS_ADDR=" + addr}, nil, 0},
		"flag beats context":           {nil, []string{"--server", addr}, 0},
		"flag beats environment":       {[]string{"RELAY_STATS_ADDR=" + addr}, []string{"--server", "127.0.0.1:1"}, away},
		"an empty variable is unset":   {[]string{"RELAY_STATS_ADDR="}, []string{"--context", "good"}, 0},
		"behind -- it is an argument":  {nil, []string{"--server", addr, "--", "--context", "good"}, 2},
		"the last one of two is meant": {nil, []string{"--context", "bad", "--context", "good"}, 0},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()

			r := p.run(test.environ, append([]string{"partitions"}, test.args...)...)
			require.Equal(t, test.code, r.code, r.errOut)
		})
	}

	// With none, the default address is asked, whoever serves there.
	r := p.run(nil, "partitions", "--context", "")
	require.NotContains(t, r.errOut, "127.0.0.1:1 ")

	// Commands that talk to NATS and MongoDB read their settings from it, too.
	r = p.run(nil, "flow", "show")
	require.Equal(t, away, r.code)
	require.Contains(t, r.errOut, "nats://127.0.0.1:2")

	r = p.run([]string{"NATS_URL=nats://127.0.0.1:3"}, "flow", "show")
	require.Contains(t, r.errOut, "nats://127.0.0.1:3")

	r = p.run([]string{"TARGET_URI=mongodb://127.0.0.1:1"}, "flow", "delete")
	require.Contains(t, r.errOut, "of-the-context")
}

// A secret of the environment and the file of a context do not get into each other's way.
func TestTokenOfTheEnvironmentBeatsThatOfTheContext(t *testing.T) {
	t.Parallel()

	p := newPlace(t)
	file := filepath.Join(p.home, "token")
	require.NoError(t, os.WriteFile(file, []byte("another"), 0o600))
	p.must("context", "add", "prod", "--server", serve(t, new(service)), "--token-file", file, "--use")

	require.Equal(t, 2, p.run(nil, "audit").code)
	require.Zero(t, p.run([]string{"API_TOKEN=" + testToken}, "audit").code)
}

func TestContextsThatAreRefused(t *testing.T) {
	t.Parallel()

	p := newPlace(t)
	p.must("context", "add", "prod", "--server", "a:1", "--use")

	for message, args := range map[string][]string{
		"there is nothing to keep":           {"context", "add", "x"},
		"holds no secret":                    {"context", "add", "x", "--nats-url", "nats://user:hunter2@host:4222"},
		"is no name of a context":            {"context", "add", "a b", "--server", "a:1"},
		"server is empty":                    {"context", "add", "x", "--server", ""},
		"did you mean prod?":                 {"context", "use", "prd"},
		`there is no context "other"`:        {"status", "--context", "other"},
		`unknown command "ad" for "relayctl`: {"context", "ad"},
	} {
		r := p.run(nil, args...)
		require.Equal(t, 2, r.code, "%v", args)
		require.Contains(t, r.errOut, message)
		require.NotContains(t, r.errOut, "hunter2")
		require.Empty(t, r.out)
	}
}

// A file that somebody edited says where it is wrong, and commands that need none of it go on.
func TestABrokenFileOfContexts(t *testing.T) {
	t.Parallel()

	for name, test := range map[string]struct{ content, message string }{
		"no YAML":         {"contexts:\n  prod: [\n", "line 2"},
		"unknown setting": {"current: prod\ncontexts:\n  prod:\n    sever: a:1\n", `line 4: "sever" is no setting of a context, did you mean server?`},
		"a secret":        {"contexts:\n  prod:\n    nats-url: nats://u:hunter2@h\n", "line 3: nats-url holds a user or a password"},
		"relative path":   {"contexts:\n  prod:\n    token-file: token\n", `line 3: token-file "token" is no absolute path`},
		"a list":          {"contexts:\n  - prod\n", "line 2: contexts must hold names with values"},
		"twice":           {"contexts:\n  prod: {server: \"a:1\"}\n  prod: {server: \"b:1\"}\n", "prod"},
		"unknown key":     {"contexts: {}\nversion: 2\n", `line 2: "version" is unknown here`},
		"wrong current":   {"current: prd\ncontexts:\n  prod: {server: \"a:1\"}\n", `there is no context "prd", did you mean prod?`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()

			p := newPlace(t)
			require.NoError(t, os.MkdirAll(filepath.Dir(p.file()), 0o700))
			require.NoError(t, os.WriteFile(p.file(), []byte(test.content), 0o600))

			r := p.run(nil, "status")
			require.Equal(t, 2, r.code)
			require.Contains(t, r.errOut, test.message)
			require.Contains(t, r.errOut, "next: ")
			require.NotContains(t, r.errOut, "hunter2")

			require.Zero(t, p.run(nil, "version").code)
			require.Zero(t, p.run(nil, "completion", "bash").code)

			after, err := os.ReadFile(p.file())
			require.NoError(t, err)
			require.Equal(t, test.content, string(after))
		})
	}
}

func TestCompletion(t *testing.T) {
	t.Parallel()

	p := newPlace(t)
	addr, _ := serveStats(t, "127.0.0.1:0", new(inventory))
	p.must("context", "add", "prod", "--server", addr, "--use")

	offered := func(args ...string) []string {
		t.Helper()

		var words []string

		for line := range strings.SplitSeq(p.must(append([]string{"__complete"}, args...)...), "\n") {
			if word, _, _ := strings.Cut(line, "\t"); word != "" && !strings.HasPrefix(word, ":") {
				words = append(words, word)
			}
		}

		return words
	}

	require.Equal(t, []string{"atlas-to-local", "local-to-atlas"}, offered("status", "--flow", ""))
	require.Equal(t, []string{"atlas-to-local", "local-to-atlas"}, offered("flow", "show", "--flow", ""))
	require.Equal(t, []string{"0", "1"}, offered("partitions", ""))
	require.Equal(t, []string{"77bb"}, offered("partitions", "--owner", ""))
	require.Contains(t, offered("partitions", "--state", ""), "no-owner")
	require.Equal(t, []string{"prod"}, offered("context", "use", ""))
	require.Equal(t, []string{"prod"}, offered("status", "--context", ""))
	require.Empty(t, offered("status", "--server", "127.0.0.1:1", "--flow", ""), "nobody answers")
}

func TestNearMisses(t *testing.T) {
	t.Parallel()

	for message, args := range map[string][]string{
		"stats":                    {"statsu"},
		"did you mean init?":       {"flow", "inti"},
		"did you mean replay?":     {"dead-letters", "repaly"},
		"relayctl flow --help":     {"flow", "something"},
		`unknown command "nothing`: {"context", "nothing"},
	} {
		r := relayctl(t, nil, args...)
		require.Equal(t, 2, r.code, "%v: %s", args, r.out)
		require.Contains(t, r.errOut, message)
	}

	require.Zero(t, relayctl(t, nil, "flow").code, "its help")
}

func TestNearMissOfAFlow(t *testing.T) {
	t.Parallel()

	for flow, says := range map[string]string{
		"atlas-to-locale": "next: --flow atlas-to-local, if that was meant; else ask for another",
		"other":           "next: ask for another",
	} {
		notFound, err := status.New(codes.NotFound, "flow is not watched").WithDetails(&errdetails.ErrorInfo{
			Reason: "FLOW_NOT_FOUND", Domain: "relay.v1", Metadata: map[string]string{"remedy": "ask for another", "flow": flow, "flows": "atlas-to-local, edge"},
		})
		require.NoError(t, err)

		r := relayctl(t, nil, "status", "--server", serve(t, &service{err: notFound.Err()}))
		require.Equal(t, 2, r.code)
		require.Contains(t, r.errOut, says)
	}
}

func TestQuietHasNoNotes(t *testing.T) {
	t.Parallel()

	addr := serve(t, new(service))

	r := relayctl(t, nil, "dead-letters", "list", "--server", addr)
	require.Contains(t, r.errOut, "nothing matches")
	r = relayctl(t, nil, "dead-letters", "list", "--server", addr, "-q")
	require.Zero(t, r.code)
	require.Empty(t, r.errOut)

	r = relayctl(t, nil, "status", "-q", "--server", "127.0.0.1:1")
	require.Contains(t, r.errOut, "cannot be reached", "an error is no note")
}

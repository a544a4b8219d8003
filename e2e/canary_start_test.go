package e2e_test

import (
	"context"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sync/errgroup"

	"github.com/atlas-relay/atlas-relay/e2e/harness"
	"github.com/atlas-relay/atlas-relay/pkg/logtest"
)

// start is a way to begin that goes wrong.
type start struct {
	name string
	env  map[string]string // in the place of settings that would do
	args []string          // of relayctl; nil: flow show
}

// attempts are the programs that are started with each mistake, and how.
func attempts() map[string][]string {
	return map[string][]string{harness.Listener: nil, harness.Processor: nil, harness.Stats: nil, "relayctl init": {"flow", "init", "--wait", "1s"}, "relayctl doctor": {"doctor", "-o", "json"}}
}

// wrongURIs are connection strings that cannot be used, each with the secret in a place of its own.
func wrongURIs(secret, mongo string) map[string]string {
	return map[string]string{
		"a wrong password":       "mongodb://relay:" + secret + "@" + mongo + "/?directConnection=true",
		"nobody there":           "mongodb://relay:" + secret + "@127.0.0.1:1/?directConnection=true",
		"no host":                "mongodb://relay:" + secret + "@",
		"no @":                   "mongodb://relay:" + secret,
		"an @ that is encoded":   "mongodb://relay:" + secret + "%40127.0.0.1:1/",
		"no port":                "mongodb://relay:" + secret + "@127.0.0.1:port/",
		"a bad escape":           "mongodb://relay:" + secret + "%zz@127.0.0.1:1/",
		"a slash":                "mongodb://relay:a/" + secret + "@127.0.0.1:1/",
		"no scheme":              "relay:" + secret + "@127.0.0.1:1",
		"only a secret":          secret,
		"another scheme":         "postgres://relay:" + secret + "@127.0.0.1:1/",
		"unknown authentication": "mongodb://relay:" + secret + "@127.0.0.1:1/?authMechanism=NONSENSE",
		"a session token":        "mongodb://relay:x@127.0.0.1:1/?authMechanism=MONGODB-AWS&authMechanismProperties=AWS_SESSION_TOKEN:" + secret,
		"the password of a key":  "mongodb://127.0.0.1:1/?tls=true&tlsCertificateKeyFilePassword=" + secret,
		"a name without address": "mongodb+srv://relay:" + secret + "@nowhere.invalid/",
	}
}

// wrongStarts are all of them.
func (x *exposed) wrongStarts(dir string) []start {
	secret := func(what string) string { return x.secrets.add(what) }
	file := func(name, content string) string {
		path := filepath.Join(dir, name)
		require.NoError(x.t, os.WriteFile(path, []byte(content), 0o600))

		return path
	}

	var all []start

	for name, uri := range wrongURIs(secret("a password of MongoDB"), x.world.Source.Server.Addr()) {
		all = append(all, start{name: name, env: map[string]string{"SOURCE_URI": uri, "TARGET_URI": uri + "&appName=target"}})
	}

	for name, uri := range map[string]string{
		"NATS: a wrong password": "nats://relay:%s@" + strings.TrimPrefix(x.world.NATS.URL(), "nats://"),
		"NATS: nobody there":     "nats://relay:%s@127.0.0.1:1",
		"NATS: a wrong token":    "nats://%s@" + strings.TrimPrefix(x.world.NATS.URL(), "nats://"),
		"NATS: a bad escape":     "nats://relay:%s%%zz@127.0.0.1:1",
		"NATS: no @":             "nats://relay:%s",
		"NATS: two servers":      "nats://a:%s@127.0.0.1:1,nats://b:%[1]s@127.0.0.1:port",
		"NATS: no scheme":        "://relay:%s@",
	} {
		all = append(all, start{name: name, env: map[string]string{"NATS_CREDS": "", "NATS_URL": strings.NewReplacer("%s", secret(name), "%[1]s", secret(name), "%%", "%").Replace(uri)}})
	}

	pem := "-----BEGIN PRIVATE KEY-----\n" + secret("half of a key") + "\n"
	seed := x.secrets.seed(x.t)

	return append(all,
		start{name: "a secret in the place of its file", env: map[string]string{
			"SOURCE_URI": "", "SOURCE_URI_FILE": "mongodb://relay:" + secret("SOURCE_URI_FILE") + "@h/", "TARGET_URI": "", "TARGET_URI_FILE": "mongodb://relay:" + secret("TARGET_URI_FILE") + "@h/",
			"NATS_CREDS": seed, "NATS_KEY": pem, "API_KEY": pem, "BATCH_SIZE": "mongodb://relay:" + secret("BATCH_SIZE") + "@h/", "FLOW": "nats://a:" + secret("FLOW") + "@h",
		}},
		start{name: "a secret beside its file", env: map[string]string{"TARGET_URI_FILE": file("uri", "mongodb://relay:"+secret("the file")+"@h/")}},
		start{name: "misspelt", env: map[string]string{"SOURCE_URL": secret("SOURCE_URL"), "TARGET_URIX": "mongodb://relay:" + secret("TARGET_URIX") + "@h/", "NATS_CRED": secret("NATS_CRED")}},
		start{name: "credentials that are none", env: map[string]string{"NATS_CREDS": file("none.creds", secret("a file of credentials")+"\n")}},
		start{name: "credentials with half a key", env: map[string]string{"NATS_CREDS": file("half.creds",
			"-----BEGIN NATS USER JWT-----\n"+secret("a JWT")+"\n------END NATS USER JWT------\n-----BEGIN USER NKEY SEED-----\nSU"+secret("half a seed")+"\n------END USER NKEY SEED------\n")}},
		start{name: "another's key", env: map[string]string{"NATS_CREDS": file("other.nk", seed)}},
		start{name: "certificates that are none", env: map[string]string{
			"NATS_CA": file("ca.pem", pem), "NATS_CERT": file("cert.pem", pem), "NATS_KEY": file("key.pem", pem), "API_CERT": file("api.pem", pem), "API_KEY": file("api.key", pem),
		}},
		start{name: "tokens that are none", env: map[string]string{"API_TOKENS_FILE": file("bad", "ann boss "+secret("a token")+"\n"+secret("a line")+"\n")}},
		start{name: "several targets", env: map[string]string{"TARGET_URI": "", "TARGET_URIS": "a=mongodb://u:" + secret("TARGET_URIS") + "@h:x,b=nonsense"}},
		start{name: "a wrong token", env: map[string]string{"API_TOKEN": secret("a wrong token"), "RELAY_STATS_ADDR": x.relay.GRPCAddr()}, args: []string{"status"}},
		start{name: "a file of a token that is not there", env: map[string]string{"API_TOKEN": "", "API_TOKEN_FILE": "/nowhere"}, args: []string{"status"}},
	)
}

// TestSecretsDoNotShowWhenStartsFail starts every program with every mistake.
func TestSecretsDoNotShowWhenStartsFail(t *testing.T) {
	x := expose(t)
	require.NoError(t, x.relay.Init(t.Context()))
	require.NoError(t, x.relay.Stats.Start())

	const together = 4

	var (
		group errgroup.Group
		mu    sync.Mutex
		said  = map[string]string{}
	)

	group.SetLimit(together)

	for _, s := range x.wrongStarts(t.TempDir()) {
		for program, args := range attempts() {
			if s.args != nil {
				args = s.args
			}

			group.Go(func() error {
				out := x.begin(program, args, s.env)

				mu.Lock()
				defer mu.Unlock()

				said[program+", "+s.name] = out

				return nil
			})
		}
	}

	require.NoError(t, group.Wait())

	for where, out := range said {
		require.NotEmpty(t, out, where)
		x.secrets.absent(t, where, out)
	}

	t.Logf("%d starts", len(said))
}

// enough is said when a program that goes on has told of its trouble, or has none.
var enough = regexp.MustCompile(`"level":"(WARN|ERROR)"|"reason":"the stream cannot be read|"msg":"(streaming|taking part in the flow)"|"state":"STANDBY"`)

// served is where the statistics answer.
var served = regexp.MustCompile(`"http_addr":"([^"]+)"`)

// begin runs a program until it has ended or told of trouble, and returns what it said.
func (x *exposed) begin(program string, args []string, env map[string]string) string {
	program, _, _ = strings.Cut(program, " ")

	ctx, cancel := context.WithTimeout(x.t.Context(), patience)
	defer cancel()

	all := x.relay.Settings(program)
	maps.Copy(all, map[string]string{"GRPC_ADDR": "127.0.0.1:0", "HTTP_ADDR": "127.0.0.1:0", "SHUTDOWN_GRACE": "0s", "OTEL_TRACES_EXPORTER": "none"})
	maps.Copy(all, env)

	var out logtest.Buffer

	cmd := exec.CommandContext(ctx, programs.Path(program), args...)
	cmd.Stdout, cmd.Stderr, cmd.Env = &out, &out, []string{"HOME=" + x.world.Dir}
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }

	for name, value := range all {
		cmd.Env = append(cmd.Env, name+"="+value)
	}

	if err := cmd.Start(); err != nil {
		return ""
	}

	ended := make(chan struct{})

	go func() {
		_ = cmd.Wait() // how it ends is another test's affair

		close(ended)
	}()

	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()

	for {
		select {
		case <-ended:
			return out.String()
		case <-tick.C:
			said := out.String()
			if at := served.FindStringSubmatch(said); at != nil {
				answer, err := x.get("http://" + at[1] + "/v1/stats") // an error is that of one that has ended
				cancel()
				<-ended

				return fmt.Sprint(out.String(), answer, err)
			}

			if enough.MatchString(said) {
				cancel()
			}
		}
	}
}

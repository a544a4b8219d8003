package e2e_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nkeys"
	"github.com/stretchr/testify/require"
	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/atlas-relay/atlas-relay/e2e/harness"
	relayv1 "github.com/atlas-relay/atlas-relay/proto/relay/v1"
)

// canaries are secrets that must show nowhere, and what each of them is.
type canaries map[string]string

// add makes a secret that nothing else holds.
func (c canaries) add(what string) string {
	secret := "canary" + strings.ToLower(rand.Text())
	c[secret] = what

	return secret
}

// seed makes the private key of a user of NATS.
func (c canaries) seed(t *testing.T) string {
	t.Helper()

	pair, err := nkeys.CreateUser()
	require.NoError(t, err)

	seed, err := pair.Seed()
	require.NoError(t, err)

	c[string(seed)] = "the NATS key of somebody else"

	return string(seed)
}

// absent makes sure that a text shows none of them, in no form.
func (c canaries) absent(t *testing.T, where, text string) {
	t.Helper()

	for secret, what := range c {
		for _, form := range []string{secret, hex.EncodeToString([]byte(secret)), base64.StdEncoding.EncodeToString([]byte(secret))} {
			if at := strings.Index(strings.ToLower(text), strings.ToLower(form)); at >= 0 {
				shown := text[max(0, at-300):min(len(text), at+len(form)+100)]
				require.Fail(t, where+" shows "+what, "…%s…", shown)
			}
		}
	}
}

// exposed is a relay between servers with passwords whose every secret is a canary.
type exposed struct {
	*scenario

	secrets  canaries
	contents canaries // of documents
	token    string   // of the API, as an operator
}

func expose(t *testing.T) *exposed {
	t.Helper()

	x := &exposed{secrets: canaries{}, contents: canaries{}}
	x.token = x.secrets.add("a token of the API")
	tokens := filepath.Join(t.TempDir(), "tokens")
	require.NoError(t, os.WriteFile(tokens, []byte("ann operator "+x.token+"\n"), 0o600))

	x.scenario = openOn(t, map[string]string{
		"LOG_LEVEL": "debug", "API_TOKENS_FILE": tokens, "API_TOKEN": x.token,
		"BYPASS_VALIDATION": "false", "RETRY_DELAYS": "100ms", "MAX_RETRIES": "1",
		// A collector that is away: what cannot be sent is complained about.
		"OTEL_TRACES_EXPORTER": "otlp", "OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf", "OTEL_TRACES_SAMPLER": "always_on",
		"OTEL_EXPORTER_OTLP_ENDPOINT": "http://relay:" + x.secrets.add("the password of the trace collector") + "@127.0.0.1:1",
		"OTEL_EXPORTER_OTLP_HEADERS":  "authorization=" + x.secrets.add("the header for the trace collector"),
	}, harness.WorldOptions{SecuredFlow: "test", Password: x.secrets.add("the password of MongoDB")})

	for role, path := range x.world.Secured.Seeds {
		seed, err := os.ReadFile(path)
		require.NoError(t, err)

		x.secrets[strings.TrimSpace(string(seed))] = "the NATS key of " + role
	}

	return x
}

// work has changes applied and refused, each with contents of its own.
func (x *exposed) work() {
	x.t.Helper()

	content := func(what string) bson.E { return bson.E{Key: "secret", Value: x.contents.add(what)} }
	orders := x.source().Collection("orders")

	require.NoError(x.t, x.source().CreateCollection(x.t.Context(), "orders"))
	x.made = func() { x.refuseBad(x.target(), "orders") }
	x.replicate()

	insert := func(document bson.D) {
		x.t.Helper()

		_, err := orders.InsertOne(x.t.Context(), document)
		require.NoError(x.t, err)
	}

	insert(bson.D{{Key: "_id", Value: x.contents.add("an _id")}, content("a document")})
	insert(bson.D{{Key: "_id", Value: 1}, content("a document that is changed")})
	_, err := orders.UpdateByID(x.t.Context(), 1, bson.D{{Key: "$set", Value: bson.D{content("a change")}}})
	require.NoError(x.t, err)

	insert(bson.D{{Key: "_id", Value: x.contents.add("the _id of a poison document")}, content("a poison document"), {Key: "bad", Value: x.contents.add("what is refused")}})

	// A unique value that only the target has: the server's error quotes it.
	unique := poisons()[4]
	taken := x.contents.add("a value that is taken")

	require.NoError(x.t, unique.rule(x.t.Context(), x.target().Collection("orders")))
	_, err = x.target().Collection("orders").InsertOne(x.t.Context(), bson.D{{Key: "_id", Value: "foreign-canary"}, {Key: "name", Value: taken}})
	require.NoError(x.t, err)
	insert(bson.D{{Key: "_id", Value: 2}, {Key: "name", Value: taken}})

	// A delta that does not fit.
	_, err = x.target().Collection("orders").DeleteOne(x.t.Context(), bson.D{{Key: "_id", Value: 1}})
	require.NoError(x.t, err)
	_, err = orders.UpdateByID(x.t.Context(), 1, bson.D{{Key: "$set", Value: bson.D{{Key: "more", Value: x.contents.add("a delta that does not fit")}}}})
	require.NoError(x.t, err)

	// The conflict counts once every partition is behind it.
	more := make([]any, 300)
	for i := range more {
		more[i] = bson.D{{Key: "_id", Value: bson.NewObjectID()}, content("one of many")}
	}

	_, err = orders.InsertMany(x.t.Context(), more)
	require.NoError(x.t, err)

	x.await("two dead letters", func(sample *relayv1.Stats) bool {
		return sample.GetFailedChanges() == 2 && sample.GetPendingChanges() == 0
	})
}

// trouble takes each server away for a moment.
func (x *exposed) trouble() {
	x.t.Helper()

	for _, server := range []interface {
		Kill() error
		Restart(ctx context.Context) error
	}{x.world.Source.Server, x.world.Target.Server, x.world.NATS} {
		require.NoError(x.t, server.Kill())

		sample := x.await("somebody who has noticed", func(sample *relayv1.Stats) bool { return !harness.Replicating(sample) })
		x.secrets.absent(x.t, "the statistics without a server", sample.String())
		x.contents.absent(x.t, "the statistics without a server", sample.String())

		require.NoError(x.t, server.Restart(x.t.Context()))
		x.await("a flow that replicates", harness.Replicating)
	}
}

// commands are what people and scripts ask relayctl, but for what shows documents on purpose.
func commands() [][]string {
	var all [][]string

	for _, command := range []string{"status", "stats", "partitions", "instances", "flow show", "doctor", "dead-letters list", "audit"} {
		all = append(all, strings.Fields(command), strings.Fields(command+" -o json"))
	}

	for _, command := range []string{
		"flow gaps", "flow init", "config", "commands", "-h", "status -h", "flow init -h", "status --flow nonsense", "dead-letters show nonsense", "nonsense",
	} {
		all = append(all, strings.Fields(command))
	}

	return all
}

// TestSecretsShowNowhere: whatever the services write or answer at LOG_LEVEL=debug, in good days and in bad ones, holds no
// password, key or token, and but for lines of the level debug nothing that stands in a document.
func TestSecretsShowNowhere(t *testing.T) {
	x := expose(t)
	x.work()
	x.trouble()

	for _, args := range commands() {
		out, _, err := x.relay.Ctl(t.Context(), args...)
		require.NoError(t, err)
		require.NotEmpty(t, out, args)
		x.secrets.absent(t, "relayctl "+strings.Join(args, " "), out)
		x.contents.absent(t, "relayctl "+strings.Join(args, " "), out)
	}

	// What compares documents names them.
	out, _, err := x.relay.Ctl(t.Context(), "verify", "-o", "json")
	require.NoError(t, err)
	x.secrets.absent(t, "relayctl verify", out)

	x.answers()

	for _, service := range x.relay.Services() {
		require.NoError(t, service.Stop(t.Context()))
	}

	logs, err := filepath.Glob(x.world.LogFiles())
	require.NoError(t, err)
	require.NotEmpty(t, logs)

	debug := 0

	for _, path := range logs {
		content, err := os.ReadFile(path)
		require.NoError(t, err)
		x.secrets.absent(t, path, string(content))

		for line := range bytes.Lines(content) {
			var entry struct{ Level string }
			if json.Unmarshal(line, &entry) == nil && entry.Level == "DEBUG" {
				debug++

				continue
			}

			x.contents.absent(t, path, string(line))
		}
	}

	require.Positive(t, debug, "nothing was said at the level debug")
}

// answers asks every address of the services.
func (x *exposed) answers() {
	x.t.Helper()

	page := x.relay.PageURL()
	urls := []string{page}

	for _, path := range []string{
		"v1/flows", "v1/stats", "v1/flows/test", "v1/flows/test/stats", "v1/flows/test/timeline", "v1/flows/test/gaps", "v1/flows/test/auditRecords",
		"v1/flows/test/partitions", "v1/flows/test/instances", "v1/flows/test/deadLetters", "v1/flows/test/deadLetterGroups",
		"v1/flows/nonsense/stats", "v1/flows/test/deadLetters?page_token=x", "v1/flows/test/deadLetters/nonsense", "openapi.json",
	} {
		urls = append(urls, page+path)
	}

	for _, service := range x.relay.Services() {
		addr, err := service.OpsAddr()
		require.NoError(x.t, err)

		for _, path := range []string{"livez", "readyz", "metrics", "debug/pprof/", "debug/pprof/cmdline", "debug/pprof/goroutine?debug=2", "debug/pprof/heap?debug=1", "debug/pprof/allocs"} {
			urls = append(urls, "http://"+addr+"/"+path)
		}
	}

	for _, url := range urls {
		text, err := x.get(url)
		require.NoError(x.t, err)
		require.NotEmpty(x.t, text, url)
		x.secrets.absent(x.t, url, text)
		x.contents.absent(x.t, url, text)
	}
}

// get asks as the operator.
func (x *exposed) get(url string) (string, error) {
	ctx, cancel := context.WithTimeout(x.t.Context(), time.Minute)
	defer cancel()

	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, http.NoBody)
	if err != nil {
		return "", err
	}

	request.Header.Set("Authorization", "Bearer "+x.token)

	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return "", err
	}

	defer response.Body.Close()

	body, err := io.ReadAll(response.Body)

	return string(body), err
}

package web_test

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"io"
	"io/fs"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.mongodb.org/mongo-driver/v2/bson"
	"go.uber.org/goleak"

	"github.com/atlas-relay/atlas-relay/pkg/mongotest"
	"github.com/atlas-relay/atlas-relay/pkg/parked"
	"github.com/atlas-relay/atlas-relay/services/stats/internal/access"
	"github.com/atlas-relay/atlas-relay/services/stats/internal/api"
	"github.com/atlas-relay/atlas-relay/services/stats/internal/deadletter"
	"github.com/atlas-relay/atlas-relay/services/stats/internal/tally"
	"github.com/atlas-relay/atlas-relay/services/stats/internal/timeline"
	"github.com/atlas-relay/atlas-relay/services/stats/internal/web"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(mongotest.Main(m)) }

// fixed is a flow whose sample never changes.
type fixed struct{ stats tally.Stats }

func (f fixed) Name() string                                { return f.stats.Flow }
func (f fixed) Sample(context.Context) (tally.Stats, error) { return f.stats, nil }

type site struct {
	t      *testing.T
	url    string
	client *http.Client
	stop   func() // ends the gRPC side
}

func open(t *testing.T, guard *access.Guard, letters ...*deadletter.Letters) *site {
	t.Helper()

	flow := fixed{tally.Stats{Flow: "a", Time: time.Unix(1_800_000_000, 0), Status: tally.OK, Total: new(uint64(1) << 60), Reasons: []string{"<b>"}}}
	line := new(timeline.Timeline)
	line.Add(timeline.PointOf(&flow.stats))

	inner, err := api.Listen(t.Context(), api.Options{
		Addr: "127.0.0.1:0", Guard: guard, Flows: []api.Flow{flow}, Letters: letters, Timelines: map[string]*timeline.Timeline{"a": line}, Log: slog.New(slog.DiscardHandler),
	})
	require.NoError(t, err)

	conn, err := inner.Dial()
	require.NoError(t, err)

	outer, err := web.Listen(t.Context(), web.Options{Addr: "127.0.0.1:0", Conn: conn, Log: slog.New(slog.DiscardHandler)})
	require.NoError(t, err)

	ctx, cancel := context.WithCancel(t.Context())
	innerCtx, stop := context.WithCancel(ctx)
	done := make(chan error, 2)

	go func() { done <- inner.Serve(innerCtx) }()
	go func() { done <- outer.Serve(ctx) }()

	s := &site{t: t, url: "http://" + outer.Addr(), client: &http.Client{Transport: new(http.Transport)}, stop: stop}

	t.Cleanup(func() {
		s.client.CloseIdleConnections()
		cancel()
		require.NoError(t, <-done)
		require.NoError(t, <-done)
		require.NoError(t, conn.Close())
	})

	return s
}

// answer is a response that was read to its end.
type answer struct {
	status int
	header http.Header
	body   []byte
}

func (s *site) request(method, path, body string, headers ...string) *http.Request {
	s.t.Helper()

	request, err := http.NewRequestWithContext(s.t.Context(), method, s.url+path, strings.NewReader(body))
	require.NoError(s.t, err)

	for i := 0; i < len(headers); i += 2 {
		if headers[i] == "Host" {
			request.Host = headers[i+1]
		}

		request.Header.Set(headers[i], headers[i+1])
	}

	return request
}

func (s *site) do(method, path, body string, headers ...string) answer {
	s.t.Helper()

	response, err := s.client.Do(s.request(method, path, body, headers...))
	require.NoError(s.t, err)

	defer response.Body.Close()

	content, err := io.ReadAll(response.Body)
	require.NoError(s.t, err)

	return answer{response.StatusCode, response.Header, content}
}

func (s *site) json(status int, method, path, body string, headers ...string) map[string]any {
	s.t.Helper()

	got := s.do(method, path, body, headers...)
	require.Equal(s.t, status, got.status, string(got.body))

	var decoded map[string]any
	require.NoError(s.t, json.Unmarshal(got.body, &decoded), string(got.body))

	return decoded
}

func loopback() *access.Guard { return access.New(access.Nobody, access.Operator, nil) }

func TestJSONHasTheNamesOfTheProtos(t *testing.T) {
	t.Parallel()

	s := open(t, loopback())

	for _, path := range []string{"/v1/flows/a/stats", "/v1/stats", "/v1/stats?flow=a"} {
		stats, ok := s.json(http.StatusOK, http.MethodGet, path, "")["stats"].(map[string]any)
		require.True(t, ok)
		require.Equal(t, "STATUS_OK", stats["status"])
		require.Equal(t, "1152921504606846976", stats["total_changes"], "all digits")
		require.NotContains(t, stats, "pending_changes", "unknown")
		require.Contains(t, stats, "next_step", "empty is said")
	}

	require.Equal(t, map[string]any{"flows": []any{map[string]any{"name": "a"}}}, s.json(http.StatusOK, http.MethodGet, "/v1/flows", ""))

	points, ok := s.json(http.StatusOK, http.MethodGet, "/v1/flows/a/timeline?step=1s&after_time=2020-01-01T00:00:00Z", "")["points"].([]any)
	require.True(t, ok)
	require.Len(t, points, 1)
}

func TestErrorsSayWhatToDo(t *testing.T) {
	t.Parallel()

	s := open(t, loopback())

	answer := s.json(http.StatusNotFound, http.MethodGet, "/v1/flows/b/stats", "")
	require.Contains(t, answer["message"], `flow "b" is not watched`)
	require.Contains(t, marshal(t, answer["details"]), "FLOW_NOT_FOUND")

	s.json(http.StatusNotFound, http.MethodGet, "/v1/flows/b/events", "")
	s.json(http.StatusBadRequest, http.MethodGet, "/v1/flows/a/timeline?step=0.5s", "")
	s.json(http.StatusNotFound, http.MethodGet, "/v1/nothing", "")
	require.Equal(t, http.StatusNotFound, s.do(http.MethodGet, "/nothing", "").status)
}

func marshal(t *testing.T, v any) string {
	t.Helper()

	text, err := json.Marshal(v)
	require.NoError(t, err)

	return string(text)
}

func TestEvents(t *testing.T) {
	t.Parallel()

	s := open(t, loopback())
	response, err := s.client.Do(s.request(http.MethodGet, "/v1/flows/a/events", ""))
	require.NoError(t, err)

	defer response.Body.Close()

	require.Equal(t, "text/event-stream", response.Header.Get("Content-Type"))

	lines := bufio.NewScanner(response.Body)
	next := func() (event, data string) {
		t.Helper()
		require.True(t, lines.Scan(), lines.Err())

		event = strings.TrimPrefix(lines.Text(), "event: ")
		require.True(t, lines.Scan(), lines.Err())
		data = strings.TrimPrefix(lines.Text(), "data: ")
		require.True(t, lines.Scan(), lines.Err())
		require.Empty(t, lines.Text())

		return event, data
	}

	for range 2 {
		event, data := next()
		require.Equal(t, "stats", event)
		require.Contains(t, data, "1152921504606846976")
	}

	s.stop()

	event, data := next()
	for event == "stats" {
		event, data = next()
	}

	require.Equal(t, "error", event)
	require.Contains(t, data, "stopping")
	require.False(t, lines.Scan(), "it ends")
}

// Names of records have slashes, in an address too.
func TestADeadLetterByItsName(t *testing.T) {
	t.Parallel()

	target := mongotest.Shared(t).Client(t)
	name := parked.ID("a", bson.NewObjectID().Hex(), 0, 3, 7)

	event, err := bson.Marshal(bson.D{{Key: "secret", Value: "<b>"}})
	require.NoError(t, err)

	_, err = parked.Records(target).InsertOne(t.Context(), parked.Record{ID: name, Flow: "a", State: parked.Dead, Operation: "insert", DB: "shop", Coll: "orders", DocumentKey: event, Event: event})
	require.NoError(t, err)
	t.Cleanup(func() {
		_, _ = parked.Records(target).DeleteOne(context.WithoutCancel(t.Context()), bson.D{{Key: "_id", Value: name}})
	})

	s := open(t, loopback(), deadletter.New("a", target))

	masked := s.do(http.MethodGet, "/v1/flows/a/deadLetters/"+name+"?view=DEAD_LETTER_VIEW_BASIC", "")
	require.Equal(t, http.StatusOK, masked.status, string(masked.body))
	require.Contains(t, string(masked.body), name)
	require.NotContains(t, string(masked.body), "secret")

	whole := s.json(http.StatusOK, http.MethodGet, "/v1/flows/a/deadLetters/"+name, "")
	require.Contains(t, whole["event_json"], `"<b>"`)

	body := `{"selection": {"names": {"names": ["` + name + `"]}}, "requested_by": "ann", "validate_only": true}`
	outcome := s.json(http.StatusOK, http.MethodPost, "/v1/flows/a/deadLetters:discard", body)
	require.Contains(t, marshal(t, outcome), `"changed":"1"`)

	body = `{"selection": {"names": {"names": ["` + name + `"]}}, "requested_by": "ann"}`
	operation, _ := s.json(http.StatusOK, http.MethodPost, "/v1/flows/a/deadLetters:refetch", body)["operation"].(string)
	progress := s.json(http.StatusOK, http.MethodGet, "/v1/flows/a/deadLetterOperations/"+operation, "")
	require.Contains(t, marshal(t, progress), `"waiting":"1"`)
	require.Contains(t, string(s.do(http.MethodGet, "/v1/flows/a/deadLetters?filter.operation="+operation+"&states=PARKED_STATE_WAITING", "").body), name)

	_, err = parked.Records(target).UpdateByID(t.Context(), name, bson.D{{Key: "$set", Value: bson.D{{Key: "state", Value: parked.Dead}}}})
	require.NoError(t, err)

	listed := s.do(http.MethodGet, "/v1/flows/a/deadLetters?filter.namespace.database=shop&states=PARKED_STATE_DEAD&page_size=1000", "")
	require.Contains(t, string(listed.body), name)
}

// Who asks from elsewhere needs a token, over HTTP as over gRPC; and nothing that he sends makes him someone else.
func TestWhoIsNotOfThisHost(t *testing.T) {
	t.Parallel()

	const token = "0123456789abcdef"

	file := filepath.Join(t.TempDir(), "tokens")
	require.NoError(t, os.WriteFile(file, []byte("board viewer "+token+"\n"), 0o600))

	tokens, err := access.LoadTokens(file)
	require.NoError(t, err)

	s := open(t, access.New(access.Nobody, access.Viewer, tokens))

	for name, headers := range map[string][]string{
		"proxy":             {"X-Forwarded-For", "192.0.2.1"},
		"standard proxy":    {"Forwarded", "for=192.0.2.1"},
		"another host name": {"Host", "evil.example"},
		"forged":            {"X-Forwarded-For", "192.0.2.1", "Grpc-Metadata-Relay-Local", "true", "Relay-Local", "true"},
	} {
		for _, path := range []string{"/v1/flows/a/stats", "/v1/flows/a/events", "/v1/flows"} {
			answer := s.json(http.StatusUnauthorized, http.MethodGet, path, "", headers...)
			require.Contains(t, marshal(t, answer), "TOKEN_REQUIRED", name)
		}

		s.json(http.StatusOK, http.MethodGet, "/v1/flows/a/stats", "", append(headers, "Authorization", "Bearer "+token)...)
	}

	s.json(http.StatusUnauthorized, http.MethodGet, "/v1/flows/a/stats", "", "Authorization", "Bearer "+token+"x")
	s.json(http.StatusForbidden, http.MethodPost, "/v1/flows/a/deadLetters:discard", "{}", "Authorization", "Bearer "+token)
	s.json(http.StatusUnauthorized, http.MethodPost, "/v1/flows/a/deadLetters:discard", "{}")
	s.json(http.StatusOK, http.MethodGet, "/v1/flows/a/stats", "", "Host", "stats:8080")
}

func TestAnotherSiteChangesNothing(t *testing.T) {
	t.Parallel()

	s := open(t, loopback())
	path := "/v1/flows/a/deadLetters:discard"

	require.Equal(t, http.StatusForbidden, s.do(http.MethodPost, path, "{}", "Sec-Fetch-Site", "cross-site").status)
	require.Equal(t, http.StatusForbidden, s.do(http.MethodPost, path, "{}", "Origin", "https://evil.example").status)
	require.Equal(t, http.StatusNotFound, s.do(http.MethodPost, path, "{}").status, "it gets as far as that there is no such flow")
}

func TestThePage(t *testing.T) {
	t.Parallel()

	s := open(t, loopback())
	page := s.do(http.MethodGet, "/", "")
	require.Equal(t, http.StatusOK, page.status)
	require.Contains(t, page.header.Get("Content-Type"), "text/html")

	policy := page.header.Get("Content-Security-Policy")
	for _, part := range []string{"default-src 'none'", "script-src 'self';", "style-src 'self';", "require-trusted-types-for 'script'", "frame-ancestors 'none'"} {
		require.Contains(t, policy, part)
	}

	require.NotContains(t, policy, "unsafe")

	again := s.do(http.MethodGet, "/", "", "If-None-Match", page.header.Get("Etag"))
	require.Equal(t, http.StatusNotModified, again.status)
	require.Equal(t, "text/javascript; charset=utf-8", s.do(http.MethodGet, "/js/app.js", "").header.Get("Content-Type"))
}

// All files together, as they go over the wire; and no file asks for anything from elsewhere.
func TestThePageIsSmallAndAlone(t *testing.T) {
	t.Parallel()

	const most = 150 << 10

	var (
		s     = open(t, loopback())
		total = 0
	)

	require.NoError(t, filepath.WalkDir("page", func(name string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}

		content, err := os.ReadFile(name)
		require.NoError(t, err)

		response := s.do(http.MethodGet, strings.TrimPrefix(filepath.ToSlash(name), "page"), "", "Accept-Encoding", "gzip")
		require.Equal(t, http.StatusOK, response.status, name)

		wire := response.body
		total += len(wire)

		if response.header.Get("Content-Encoding") == "gzip" {
			unpacked, err := gzip.NewReader(bytes.NewReader(wire))
			require.NoError(t, err)
			wire, err = io.ReadAll(unpacked)
			require.NoError(t, err)
		}

		require.Equal(t, string(content), string(wire), name)

		if !strings.Contains(name, "vendor") {
			text := strings.ReplaceAll(string(content), "http://www.w3.org/2000/svg", "")
			require.NotContains(t, text, "://", name)
			require.NotContains(t, text, "innerHTML", name)
		}

		return nil
	}))

	require.Less(t, total, most)
	t.Logf("%d bytes", total)
}

func TestTheDescriptionNamesEveryPath(t *testing.T) {
	t.Parallel()

	s := open(t, loopback())
	paths, ok := s.json(http.StatusOK, http.MethodGet, "/openapi.json", "")["paths"].(map[string]any)
	require.True(t, ok)

	for _, path := range []string{
		"/v1/flows", "/v1/flows/{flow}/stats", "/v1/flows/{flow}/timeline", "/v1/flows/{flow}/gaps", "/v1/flows/{flow}/auditRecords",
		"/v1/flows/{flow}/deadLetters", "/v1/flows/{flow}/deadLetters/{name}", "/v1/flows/{flow}/deadLetterGroups",
		"/v1/flows/{flow}/deadLetters:replay", "/v1/flows/{flow}/deadLetters:refetch", "/v1/flows/{flow}/deadLetters:discard",
		"/v1/flows/{flow}/deadLetterOperations/{name}",
	} {
		require.Contains(t, paths, path)
	}
}

package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/atlas-relay/atlas-relay/pkg/mongotest"
	"github.com/atlas-relay/atlas-relay/pkg/natstest"
	relayv1 "github.com/atlas-relay/atlas-relay/proto/relay/v1"
)

var update = flag.Bool("update", false, "write the golden files")

// asProgram makes the test's binary be relayctl: so every test runs the program
// as it was just compiled, with the race detector where the tests have it.
const asProgram = "RELAYCTL_AS_PROGRAM"

func TestMain(m *testing.M) {
	if os.Getenv(asProgram) != "" {
		main()
	}

	os.Exit(mongotest.Main(m).Run())
}

// result is what a call of the program left.
type result struct {
	code        int
	out, errOut string
}

// relayctl runs the program with these variables and nothing else of ours.
func relayctl(t *testing.T, environ []string, args ...string) result {
	t.Helper()

	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()

	var out, errOut bytes.Buffer

	cmd := exec.CommandContext(ctx, os.Args[0], args...)
	cmd.Env = append([]string{asProgram + "=1", "HOME=" + t.TempDir()}, environ...)
	cmd.Stdout, cmd.Stderr = &out, &errOut

	err := cmd.Run()

	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		require.NoError(t, err)
	}

	return result{code: cmd.ProcessState.ExitCode(), out: out.String(), errOut: errOut.String()}
}

func requireGolden(t *testing.T, name, got string) {
	t.Helper()

	path := filepath.Join("testdata", name+".golden")
	if *update {
		require.NoError(t, os.MkdirAll("testdata", 0o755))
		require.NoError(t, os.WriteFile(path, []byte(got), 0o644))
	}

	want, err := os.ReadFile(path)
	require.NoError(t, err, "write it with: go test ./services/relayctl -update")
	require.Equal(t, string(want), got)
}

// service answers every question with one sample or one error.
type service struct {
	relayv1.UnimplementedStatsServiceServer

	letters letterService
	flows   flowService
	stats   *relayv1.Stats
	err     error
}

func (s *service) GetStats(context.Context, *relayv1.GetStatsRequest) (*relayv1.GetStatsResponse, error) {
	return &relayv1.GetStatsResponse{Stats: s.stats}, s.err
}

func (s *service) WatchStats(_ *relayv1.WatchStatsRequest, stream grpc.ServerStreamingServer[relayv1.WatchStatsResponse]) error {
	for i := range 2 {
		s.stats.SampleTime = timestamppb.New(time.Unix(1_800_000_000+int64(i), 0))
		s.stats.TotalChanges = new(uint64(1000 + 500*i))

		if err := stream.Send(&relayv1.WatchStatsResponse{Stats: s.stats}); err != nil {
			return err
		}
	}

	return s.err
}

func serve(t *testing.T, s *service) (addr string) {
	t.Helper()

	listener, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	require.NoError(t, err)

	server := grpc.NewServer()
	relayv1.RegisterStatsServiceServer(server, s)
	relayv1.RegisterDeadLetterServiceServer(server, &s.letters)
	relayv1.RegisterFlowServiceServer(server, &s.flows)

	done := make(chan error, 1)
	go func() { done <- server.Serve(listener) }()

	t.Cleanup(func() {
		server.Stop()
		require.NoError(t, <-done)
	})

	return listener.Addr().String()
}

func fine() *relayv1.Stats {
	return &relayv1.Stats{
		Flow: "atlas-to-local", Status: relayv1.Status_STATUS_OK, SampleTime: timestamppb.New(time.Unix(1_800_000_000, 0)),
		TotalChanges: new(uint64(1000)), ProcessedChanges: new(uint64(900)), FailedChanges: new(uint64(0)), SkippedChanges: new(uint64(90)),
		PendingChanges: new(uint64(10)), BatchesProcessed: new(uint64(42)), PendingBatchSize: new(uint64(10)), IsBatchProcessing: new(true),
		ParkedChanges: new(uint64(1)), DeadLetters: new(uint64(0)),
		Consistent: true, AddsUp: new(true), Lag: durationpb.New(1500 * time.Microsecond), CaptureLag: durationpb.New(0),
		HistoryRemaining: durationpb.New(36 * time.Hour), HistoryWindow: durationpb.New(36 * time.Hour),
		HistoryTrend: relayv1.HistoryTrend_HISTORY_TREND_STILL, HistoryLevel: relayv1.HistoryLevel_HISTORY_LEVEL_OK,
		Stream:     &relayv1.StreamStats{Name: "CDC_atlas-to-local", Messages: 910, Bytes: 1_500_000, MaxBytes: 10 << 30},
		Listeners:  []*relayv1.ListenerReport{{Instance: &relayv1.Instance{Id: "l1", Host: "h", Pid: 7}, State: relayv1.ListenerState_LISTENER_STATE_STREAMING}},
		Processors: []*relayv1.ProcessorInstance{{Instance: &relayv1.Instance{Id: "p1", Host: "h", Pid: 8}, Partitions: 16}},
		Partitions: []*relayv1.PartitionStats{{Partition: 0, State: relayv1.PartitionState_PARTITION_STATE_APPLYING, PendingChanges: new(uint64(10))}},
	}
}

func troubled(s relayv1.Status, reasons ...string) *relayv1.Stats {
	stats := fine()
	stats.Status, stats.Reasons, stats.NextStep = s, reasons, "do something"

	return stats
}

// noted is a flow that is fine, of which something is worth knowing.
func noted() *relayv1.Stats {
	s := fine()
	s.Notes = []string{"processor on relay-2\x1b[31m (process 7) is gone: it has said nothing since 19:02:11 UTC; of its partitions, 0-3 with process 9 on relay-1"}

	return s
}

func TestStatusSaysOneWordAndExits(t *testing.T) {
	t.Parallel()

	for name, test := range map[string]struct {
		stats *relayv1.Stats
		code  int
	}{
		"ok":       {fine(), 0},
		"noted":    {noted(), 0},
		"degraded": {troubled(relayv1.Status_STATUS_DEGRADED, "partition 1 is PAUSED: no primary"), 1},
		"diverged": {troubled(relayv1.Status_STATUS_DIVERGED, "drop on shop.old was not applied (events: 1)"), 1},
		"down":     {troubled(relayv1.Status_STATUS_DOWN, "no listener reports", "no processor reports"), 1},
		"unknown":  {troubled(relayv1.Status_STATUS_UNKNOWN, "target: no primary"), 3},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()

			r := relayctl(t, nil, "status", "--server", serve(t, &service{stats: test.stats}))
			require.Equal(t, test.code, r.code, r.errOut)
			requireGolden(t, "status-"+name, r.out)

			asJSON := relayctl(t, []string{"RELAY_STATS_ADDR=" + serve(t, &service{stats: test.stats})}, "status", "-o", "json")
			require.Equal(t, test.code, asJSON.code)
			requireGolden(t, "status-"+name+"-json", asJSON.out)
		})
	}
}

func TestStats(t *testing.T) {
	t.Parallel()

	r := relayctl(t, nil, "stats", "--server", serve(t, &service{stats: fine()}))
	require.Equal(t, 0, r.code)
	requireGolden(t, "stats", r.out)

	unknown := troubled(relayv1.Status_STATUS_UNKNOWN, "target: no primary")
	unknown.UnknownBecause = []string{"target: no primary"}
	unknown.ProcessedChanges, unknown.PendingChanges, unknown.AddsUp, unknown.Lag, unknown.Consistent = nil, nil, nil, nil, false
	unknown.Unsupported = []*relayv1.UnsupportedEvents{{Namespace: &relayv1.Namespace{Database: "db"}, Operation: "dropDatabase", Events: 1, Diverges: true}}

	r = relayctl(t, nil, "stats", "--server", serve(t, &service{stats: unknown}))
	require.Equal(t, 0, r.code, "numbers were asked for, and what is known was told")
	requireGolden(t, "stats-unknown", r.out)
}

func TestWatchPrintsLines(t *testing.T) {
	t.Parallel()

	r := relayctl(t, []string{"TZ=UTC"}, "stats", "--watch", "--server", serve(t, &service{stats: fine()}))
	require.Equal(t, 3, r.code, "the service ended the watch")
	requireGolden(t, "stats-watch", r.out)

	r = relayctl(t, nil, "stats", "-w", "-o", "json", "--server", serve(t, &service{stats: fine()}))

	lines := strings.Split(strings.TrimSpace(r.out), "\n")
	require.Len(t, lines, 2)

	for _, line := range lines {
		require.True(t, json.Valid([]byte(line)))
	}
}

func TestVersion(t *testing.T) {
	t.Parallel()

	command, flag := relayctl(t, nil, "version"), relayctl(t, nil, "--version")
	require.Regexp(t, `^relayctl \S+\n$`, command.out)
	require.Equal(t, command, flag)
}

func TestExitCodes(t *testing.T) {
	t.Parallel()

	notFound, err := status.New(codes.NotFound, `flow "x" is not watched`).WithDetails(&errdetails.ErrorInfo{
		Reason: "FLOW_NOT_FOUND", Domain: "relay.v1", Metadata: map[string]string{"remedy": "ask for another"},
	})
	require.NoError(t, err)

	for name, test := range map[string]struct {
		environ []string
		args    []string
		code    int
		message string
	}{
		"no stats service":            {nil, []string{"status", "--server", "127.0.0.1:1"}, 3, "cannot be reached"},
		"unknown flow":                {nil, []string{"status", "--server", serve(t, &service{err: notFound.Err()})}, 2, "next: ask for another"},
		"unknown command":             {nil, []string{"statsu"}, 2, "unknown command"},
		"unknown flag":                {nil, []string{"status", "--nope"}, 2, "unknown flag"},
		"unknown output":              {nil, []string{"version", "-o", "yaml"}, 2, "use -o text or -o json"},
		"superfluous argument":        {nil, []string{"status", "now"}, 2, "unknown command"},
		"nothing is set":              {nil, []string{"flow", "init"}, 2, "SOURCE_URI"},
		"NATS away":                   {[]string{"NATS_URL=nats://127.0.0.1:1"}, []string{"flow", "show"}, 3, "NATS at nats://127.0.0.1:1 cannot be reached"},
		"target away":                 {[]string{"TARGET_URI=mongodb://127.0.0.1:1/?serverSelectionTimeoutMS=100"}, []string{"flow", "accept-divergence", "--reason", "r", "--yes", "-o", "json"}, 3, "TARGET_URI"},
		"delete without a yes":        {[]string{"TARGET_URI=mongodb://127.0.0.1:1"}, []string{"flow", "delete"}, 2, "add --yes"},
		"dead letter without a name":  {nil, []string{"dead-letters", "replay"}, 2, "neither a name nor --all"},
		"names and all":               {nil, []string{"dead-letters", "replay", "a", "--all"}, 2, "both names and --all"},
		"names and a filter":          {nil, []string{"dead-letters", "discard", "a", "--since", "1h"}, 2, "a filter is given beside names"},
		"unknown state":               {nil, []string{"dead-letters", "list", "--state", "gone"}, 2, `"gone" is none of waiting`},
		"negative limit":              {nil, []string{"dead-letters", "list", "--limit", "-1"}, 2, "--limit is negative"},
		"show without a name":         {nil, []string{"dead-letters", "show"}, 2, "accepts 1 arg"},
		"no service for dead letters": {nil, []string{"dead-letters", "list", "--server", "127.0.0.1:1"}, 3, "cannot be reached"},
		"flag beats environment":      {[]string{"PARTITIONS=1", "SOURCE_URI=mongodb://a", "TARGET_URI=mongodb://b"}, []string{"flow", "init", "--partitions", "1000"}, 2, "PARTITIONS=1000"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()

			r := relayctl(t, test.environ, test.args...)
			require.Equal(t, test.code, r.code, r.errOut)
			require.Contains(t, r.errOut, test.message)
			require.Contains(t, r.errOut, "relayctl: ")
			require.Empty(t, r.out, "data only")
		})
	}
}

func TestAllMistakesAtOnceAndNoSecret(t *testing.T) {
	t.Parallel()

	r := relayctl(t, []string{
		"SOURCE_URI=mongodb://u:hunter2%zz@a", "TARGET_URI=mongodb://u:hunter2@b", "STREAM_REPLICAS=2", "STREAM_PUBLISH=both",
		"SKIP_ORIGINS=other,atlas-to-local", "DDL=on", "STREAM_MAX_BYTES=1MiB", "INCLUDE_NAMESPACES=admin.*",
	}, "flow", "init")

	require.Equal(t, 2, r.code)

	for _, name := range []string{"SOURCE_URI", "STREAM_REPLICAS", "STREAM_PUBLISH", "SKIP_ORIGINS", "DDL=on", "STREAM_MAX_BYTES", "INCLUDE_NAMESPACES"} {
		require.Contains(t, r.errOut, name)
	}

	require.NotContains(t, r.errOut, "hunter2")
}

func TestFlowFromInitToDelete(t *testing.T) {
	t.Parallel()

	uri := mongotest.Shared(t).URI().Reveal()
	environ := []string{
		"NATS_URL=" + natstest.New(t).URL(), "SOURCE_URI=" + uri, "TARGET_URI=" + uri + "&appName=target",
		"FLOW=cli-test", "INCLUDE_NAMESPACES=" + mongotest.DB(t).Name() + ".*", "STREAM_MAX_BYTES=64MiB",
	}

	r := relayctl(t, environ, "flow", "show")
	require.Equal(t, 2, r.code)
	require.Contains(t, r.errOut, "relayctl flow init")

	r = relayctl(t, environ, "flow", "init", "--partitions", "4")
	require.Equal(t, 0, r.code, r.errOut)
	require.Contains(t, r.out, "flow cli-test is made: stream CDC_cli-test")

	r = relayctl(t, environ, "flow", "init", "--partitions=4", "-o", "json")
	require.Equal(t, 0, r.code, r.errOut)
	require.Contains(t, r.out, `"created": false`)

	r = relayctl(t, environ, "flow", "init", "--partitions=8")
	require.Equal(t, 2, r.code)
	require.Contains(t, r.errOut, "PARTITIONS=8, the stream has 4")

	r = relayctl(t, append(environ, "RELAY_STATS_ADDR=127.0.0.1:1"), "flow", "show")
	require.Equal(t, 0, r.code, r.errOut)
	require.Contains(t, r.out, "partitions     4")
	require.Contains(t, r.out, "state          unknown because the stats service at 127.0.0.1:1 cannot be reached")

	paused := &service{flows: flowService{pause: &relayv1.Pause{By: "ann", Reason: "upgrade", Since: timestamppb.New(time.Unix(1_800_000_000, 0))}}}
	environ = append(environ, "RELAY_STATS_ADDR="+serve(t, paused))

	r = relayctl(t, environ, "flow", "show")
	require.Equal(t, 0, r.code, r.errOut)
	require.Contains(t, r.out, "state          paused by ann since 2027-01-15T08:00:00Z: upgrade\n")

	var shown struct {
		State string `json:"state"`
		Pause struct {
			By string `json:"by"`
		} `json:"pause"`
		Messages int             `json:"messages"`
		Tail     json.RawMessage `json:"tail"`
	}

	r = relayctl(t, environ, "flow", "show", "-o", "json")
	require.NoError(t, json.Unmarshal([]byte(r.out), &shown))
	require.Equal(t, 1, shown.Messages)
	require.NotEmpty(t, shown.Tail)
	require.Equal(t, "paused", shown.State)
	require.Equal(t, "ann", shown.Pause.By)

	r = relayctl(t, environ, "flow", "delete", "--yes")
	require.Equal(t, 0, r.code, r.errOut)
	require.Contains(t, r.out, "deleted stream CDC_cli-test")

	r = relayctl(t, environ, "flow", "delete", "--yes")
	require.Equal(t, 0, r.code, r.errOut)
	require.Contains(t, r.out, "nothing to delete")
}

func TestHelpBeginsWithExamples(t *testing.T) {
	t.Parallel()

	r := relayctl(t, nil, "flow", "init", "--help")
	require.Equal(t, 0, r.code)
	require.Less(t, strings.Index(r.out, "Examples:"), strings.Index(r.out, "Usage:"))
	require.NotContains(t, r.out, "--source-uri ", "a secret has no flag")

	r = relayctl(t, nil, "completion", "bash")
	require.Equal(t, 0, r.code)
	require.Contains(t, r.out, "relayctl")

	r = relayctl(t, nil, "config")
	require.Equal(t, 0, r.code)
	require.Contains(t, r.out, "| `PARTITIONS` | `16` |")
}

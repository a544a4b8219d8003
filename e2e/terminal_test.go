package e2e_test

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/creack/pty"
	"github.com/stretchr/testify/require"
	"go.mongodb.org/mongo-driver/v2/bson"
	"google.golang.org/protobuf/proto"

	"github.com/atlas-relay/atlas-relay/e2e/harness"
	"github.com/atlas-relay/atlas-relay/pkg/topology"
	relayv1 "github.com/atlas-relay/atlas-relay/proto/relay/v1"
)

// TestTerminal is what a person at a terminal sees of a flow: who does what since when, and all of it live.
func TestTerminal(t *testing.T) {
	s := open(t)
	s.replicate()

	for i := range 50 {
		_, err := s.source().Collection("orders").InsertOne(t.Context(), bson.D{{Key: "_id", Value: i}})
		require.NoError(t, err)
	}

	sample := s.await("50 changes applied", harness.Applied(50))
	s.promises(sample)

	var listed struct {
		Partitions []struct {
			State     string    `json:"state"`
			Owner     string    `json:"owner_instance"`
			Since     time.Time `json:"state_time"`
			Processed string    `json:"processed_changes"`
		}
	}

	s.list(&listed, "partitions")
	require.Len(t, listed.Partitions, 16)

	for _, p := range listed.Partitions {
		require.Equal(t, "PARTITION_STATE_APPLYING", p.State)
		require.NotEmpty(t, p.Owner)
		require.WithinDuration(t, time.Now(), p.Since, time.Hour, "its owner says since when")
	}

	var crew struct {
		Instances []struct {
			Role, State string
			Partitions  int
			Age         string `json:"report_age"`
		}
	}

	s.list(&crew, "instances")
	require.Len(t, crew.Instances, 2)
	require.Equal(t, "INSTANCE_STATE_STREAMING", crew.Instances[0].State)
	require.Equal(t, "INSTANCE_STATE_APPLYING", crew.Instances[1].State)
	require.Equal(t, 16, crew.Instances[1].Partitions)
	require.NotEmpty(t, crew.Instances[0].Age)

	x := s.top()
	x.shows("adds up")
	x.shows("16 APPLYING")
	x.press("3")
	x.shows("STREAMING")
	x.press("q")
	require.NoError(t, x.cmd.Wait(), x.text())
	x.shows("\x1b[?1049l")
}

// promises makes sure that reports say when the next one comes, and where the history becomes too short.
func (s *scenario) promises(sample *relayv1.Stats) {
	s.t.Helper()

	const leaseTTL = 5 * time.Second // the default

	require.Equal(s.t, leaseTTL, sample.GetListeners()[0].GetLeaseTtl().AsDuration())
	require.Equal(s.t, 24*time.Hour, sample.GetHistoryWarn().AsDuration())
	require.Equal(s.t, 4*time.Hour, sample.GetHistoryCritical().AsDuration())

	nc, js, err := s.world.NATS.JetStream()
	require.NoError(s.t, err)

	defer nc.Close()

	bucket, err := js.KeyValue(s.t.Context(), topology.StatsBucket)
	require.NoError(s.t, err)

	processor := sample.GetProcessors()[0].GetInstance().GetId() // a sample has their partitions, not their reports
	entry, err := bucket.Get(s.t.Context(), topology.ProcessorReportKey("test", processor))
	require.NoError(s.t, err)

	report := new(relayv1.ProcessorReport)
	require.NoError(s.t, proto.Unmarshal(entry.Value(), report))
	require.Equal(s.t, leaseTTL, report.GetLeaseTtl().AsDuration())
}

func (s *scenario) list(into any, name string) {
	s.t.Helper()

	answer, err := s.relay.CtlAnswer(s.t.Context(), name, "-o", "json")
	require.NoError(s.t, err)
	require.Zero(s.t, answer.Code, answer.Messages)
	require.NoError(s.t, json.Unmarshal(answer.Data, into))
}

// terminal is a pseudo-terminal with relayctl top on it.
type terminal struct {
	t    *testing.T
	cmd  *exec.Cmd
	keys *os.File

	mu   sync.Mutex
	seen bytes.Buffer // guarded by mu
}

func (s *scenario) top() *terminal {
	s.t.Helper()

	x := &terminal{t: s.t, cmd: exec.CommandContext(s.t.Context(), programs.Path(harness.Relayctl), "top", "--server", s.relay.GRPCAddr())}
	x.cmd.Env = []string{"TERM=xterm-256color", "HOME=" + s.t.TempDir()}

	keys, err := pty.StartWithSize(x.cmd, &pty.Winsize{Rows: 24, Cols: 80})
	require.NoError(s.t, err)

	x.keys = keys
	read := make(chan struct{})

	go func() {
		defer close(read)

		buffer := make([]byte, 1<<12)

		for {
			n, err := keys.Read(buffer)

			x.mu.Lock()
			x.seen.Write(buffer[:n])
			x.mu.Unlock()

			if err != nil {
				return
			}
		}
	}()

	s.t.Cleanup(func() {
		_ = x.cmd.Process.Kill() // ended by the test already, unless that failed
		_ = keys.Close()
		<-read
	})

	return x
}

func (x *terminal) press(keys string) {
	x.t.Helper()

	_, err := x.keys.WriteString(keys)
	require.NoError(x.t, err)
}

func (x *terminal) text() string {
	x.mu.Lock()
	defer x.mu.Unlock()

	return x.seen.String()
}

func (x *terminal) shows(what string) {
	x.t.Helper()
	require.Eventually(x.t, func() bool { return strings.Contains(x.text(), what) }, patience, 50*time.Millisecond, what)
}

package main

import (
	"bytes"
	"context"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/charmbracelet/x/term"
	"github.com/creack/pty"
	"github.com/stretchr/testify/require"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/types/known/timestamppb"

	relayv1 "github.com/atlas-relay/atlas-relay/proto/relay/v1"
)

// patience is how long a condition may take on a busy machine.
const patience = time.Minute

// terminal is a pseudo-terminal with a program on it.
type terminal struct {
	t       *testing.T
	keys    *os.File // what is written here was typed
	tty     *os.File
	cmd     *exec.Cmd
	restore *term.State // of the terminal before the program

	mu   sync.Mutex
	seen bytes.Buffer // guarded by mu
	done chan struct{}
}

func openTerminal(t *testing.T, environ []string, args ...string) *terminal {
	t.Helper()

	keys, tty, err := pty.Open()
	require.NoError(t, err)
	require.NoError(t, pty.Setsize(keys, &pty.Winsize{Rows: 24, Cols: 80}))

	before, err := term.GetState(tty.Fd())
	require.NoError(t, err)

	x := &terminal{t: t, keys: keys, tty: tty, restore: before, done: make(chan struct{})}
	x.cmd = exec.CommandContext(t.Context(), os.Args[0], args...)
	x.cmd.Env = append([]string{asProgram + "=1", "HOME=" + t.TempDir(), "TERM=xterm-256color"}, environ...)
	x.cmd.Stdin, x.cmd.Stdout, x.cmd.Stderr = tty, tty, tty
	x.cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	require.NoError(t, x.cmd.Start())

	go func() {
		defer close(x.done)

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

	t.Cleanup(func() {
		_ = x.cmd.Process.Kill() // ended by the test already, unless that failed
		_ = tty.Close()
		_ = keys.Close()
		<-x.done
	})

	return x
}

func (x *terminal) text() string {
	x.mu.Lock()
	defer x.mu.Unlock()

	return x.seen.String()
}

// forget what was seen so far.
func (x *terminal) forget() {
	x.mu.Lock()
	defer x.mu.Unlock()

	x.seen.Reset()
}

func (x *terminal) shows(what string) {
	x.t.Helper()
	require.Eventually(x.t, func() bool { return strings.Contains(x.text(), what) }, patience, 20*time.Millisecond, "%q in %q", what, lazy{x.text})
}

// lazy is a text of the time when the wait failed.
type lazy struct{ text func() string }

func (l lazy) String() string { return l.text() }

func (x *terminal) press(keys string) {
	x.t.Helper()

	_, err := x.keys.WriteString(keys)
	require.NoError(x.t, err)
}

// ends waits for the end and makes sure that the terminal has its own settings.
func (x *terminal) ends(code int) {
	x.t.Helper()

	ended := make(chan error, 1)
	go func() { ended <- x.cmd.Wait() }()

	select {
	case <-ended:
	case <-time.After(patience):
		require.Fail(x.t, "it does not end", x.text())
	}

	require.Equal(x.t, code, x.cmd.ProcessState.ExitCode(), x.text())

	after, err := term.GetState(x.tty.Fd())
	require.NoError(x.t, err)
	require.Equal(x.t, x.restore, after, "the terminal's own settings")
}

// quits waits for the end of what had the whole terminal, and makes sure that it is as it was.
func (x *terminal) quits(code int) {
	x.t.Helper()
	x.ends(code)
	x.shows("\x1b[?1049l") // the other screen
	x.shows("\x1b[?25h")   // the cursor
}

// liveService is a stats service that goes on sending samples.
type liveService struct {
	relayv1.UnimplementedStatsServiceServer

	flows []string
}

func (s *liveService) ListFlows(context.Context, *relayv1.ListFlowsRequest) (*relayv1.ListFlowsResponse, error) {
	response := new(relayv1.ListFlowsResponse)
	for _, name := range s.flows {
		response.Flows = append(response.Flows, &relayv1.Flow{Name: name})
	}

	return response, nil
}

func (*liveService) WatchStats(request *relayv1.WatchStatsRequest, stream grpc.ServerStreamingServer[relayv1.WatchStatsResponse]) error {
	for i := uint64(0); ; i++ {
		stats := fine()
		stats.Flow, stats.SampleTime, stats.TotalChanges = request.GetFlow(), timestamppb.Now(), new(1000+500*i)

		if err := stream.Send(&relayv1.WatchStatsResponse{Stats: stats}); err != nil {
			return err
		}

		select {
		case <-time.After(200 * time.Millisecond):
		case <-stream.Context().Done():
			return stream.Context().Err()
		}
	}
}

func TestTopQuitsCleanly(t *testing.T) {
	t.Parallel()

	addr, _ := serveStats(t, "127.0.0.1:0", &liveService{flows: []string{"atlas-to-local"}})

	for name, leave := range map[string]func(*terminal){
		"q":       func(x *terminal) { x.press("q") },
		"Ctrl-C":  func(x *terminal) { x.press("\x03") },
		"SIGTERM": func(x *terminal) { require.NoError(t, x.cmd.Process.Signal(syscall.SIGTERM)) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()

			x := openTerminal(t, nil, "top", "--server", addr)
			x.shows("\x1b[?1049h")
			x.shows("captured/s")
			leave(x)
			x.quits(0)
		})
	}
}

// It follows the terminal's size, and the service when that comes back.
func TestTopGoesOn(t *testing.T) {
	t.Parallel()

	addr, stop := serveStats(t, "127.0.0.1:0", &liveService{flows: []string{"a", "b"}})
	x := openTerminal(t, []string{"NO_COLOR=1"}, "top", "--server", addr, "--flow", "b")
	x.shows("captured/s")
	require.NotRegexp(t, `\x1b\[[0-9;]*3[0-9]m`, x.text(), "no colours")

	x.forget()
	require.NoError(t, pty.Setsize(x.keys, &pty.Winsize{Rows: 12, Cols: 60}))
	require.NoError(t, x.cmd.Process.Signal(syscall.SIGWINCH))
	x.shows("lines more on a taller terminal")

	stop()
	x.shows("data since") // letters that were there are not drawn again
	x.forget()
	serveStats(t, addr, &liveService{flows: []string{"b"}})
	x.shows("needs a person")

	x.press("q")
	x.quits(0)
}

func TestTopNeedsATerminal(t *testing.T) {
	t.Parallel()

	r := relayctl(t, nil, "top")
	require.Equal(t, 2, r.code)
	require.Contains(t, r.errOut, "relayctl stats --watch")

	r = relayctl(t, nil, "top", "-o", "json")
	require.Equal(t, 2, r.code)
	require.Contains(t, r.errOut, "relayctl stats --watch -o json")

	x := openTerminal(t, []string{"TERM=dumb"}, "top")
	x.shows("relayctl stats --watch")
}

// What is wrong from the start is said at once.
func TestTopBeginsWithAFlow(t *testing.T) {
	t.Parallel()

	addr, _ := serveStats(t, "127.0.0.1:0", &liveService{flows: []string{"edge-to-atlas", "atlas-to-local"}})

	x := openTerminal(t, nil, "top", "--server", addr, "--flow", "atlas-to-locale")
	x.shows("did you mean atlas-to-local?")

	x = openTerminal(t, nil, "top", "--server", "127.0.0.1:1")
	x.shows("cannot be reached")

	x = openTerminal(t, nil, "top", "--server", addr)
	x.shows("> edge-to-atlas") // a choice, where none was named
	x.press("\r")
	x.shows("captured/s")
	x.press("q")
	x.quits(0)
}

package main

import (
	"bufio"
	"context"
	"encoding/json"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"

	"github.com/creack/pty"
	"github.com/spf13/cobra"
	"github.com/stretchr/testify/require"

	relayv1 "github.com/atlas-relay/atlas-relay/proto/relay/v1"
)

// watchedLists are all that can be watched.
func watchedLists() [][]string {
	return [][]string{{"partitions"}, {"instances"}, {"flow", "gaps"}, {"dead-letters", "list"}, {"audit"}}
}

// startWatch runs a list with --watch, and returns the program and its lines.
func startWatch(t *testing.T, args ...string) (*exec.Cmd, *bufio.Reader) {
	t.Helper()

	ctx, cancel := context.WithTimeout(t.Context(), patience)
	t.Cleanup(cancel)

	cmd := exec.CommandContext(ctx, os.Args[0], append(args, "--watch", "--interval", "200ms")...)
	cmd.Env = []string{asProgram + "=1", "HOME=" + t.TempDir()}

	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())

	return cmd, bufio.NewReader(out)
}

// Each list has the same --watch: an object a line for programs, until Ctrl-C, which is no failure.
func TestListsCanBeWatched(t *testing.T) {
	t.Parallel()

	for _, list := range watchedLists() {
		t.Run(strings.Join(list, " "), func(t *testing.T) {
			t.Parallel()

			addr := serveLists(t)
			cmd, lines := startWatch(t, append(list, "--server", addr, "-o", "json")...)

			for range 3 {
				line, err := lines.ReadBytes('\n')
				require.NoError(t, err)
				require.True(t, json.Valid(line), "%s", line)
			}

			require.NoError(t, cmd.Process.Signal(syscall.SIGINT))

			for { // what was written before the signal came
				if _, err := lines.ReadBytes('\n'); err != nil {
					break
				}
			}

			require.NoError(t, cmd.Wait(), "exit code 0")

			cmd, lines = startWatch(t, append(list, "--server", addr)...)

			for headers := 0; headers < 2; { // one table below the other
				line, err := lines.ReadString('\n')
				require.NoError(t, err)

				if strings.HasPrefix(line, "# 20") {
					headers++
				}
			}

			require.NoError(t, cmd.Process.Signal(syscall.SIGTERM))

			for {
				if _, err := lines.ReadBytes('\n'); err != nil {
					break
				}
			}

			require.NoError(t, cmd.Wait())
		})
	}
}

// On a terminal the list is drawn over, cut to what has room, and waits for a service that went away.
func TestAListIsWatchedOnATerminal(t *testing.T) {
	t.Parallel()

	addr, stop := serveStats(t, "127.0.0.1:0", new(inventory))
	x := openTerminal(t, nil, "partitions", "--watch", "--interval", "200ms", "--server", addr)
	x.shows("every 200ms; Ctrl-C ends it")
	x.shows("NO_OWNER")
	require.Contains(t, x.text(), "\x1b[H", "drawn over")
	require.Contains(t, x.text(), "…", "cut at the edge of the terminal")

	stop()
	x.shows("no answer: the stats service at " + addr + " cannot be reached")
	x.forget()
	serveStats(t, addr, new(inventory))
	x.shows("NO_OWNER")

	x.forget()
	require.NoError(t, pty.Setsize(x.keys, &pty.Winsize{Rows: 4, Cols: 60}))
	x.shows("lines more on a taller terminal")

	x.press("\x03")
	x.ends(0)

	x = openTerminal(t, nil, "dead-letters", "list", "--watch", "--server", addr)
	x.shows("nothing matches")
	x.press("\x03")
	x.ends(0)
}

// What is wrong from the start is told at once, and so is what no waiting makes right.
func TestAWatchThatCannotBegin(t *testing.T) {
	t.Parallel()

	r := relayctl(t, nil, "partitions", "--watch", "--server", "127.0.0.1:1")
	require.Equal(t, 3, r.code)
	require.Contains(t, r.errOut, "cannot be reached")

	r = relayctl(t, nil, "instances", "--watch", "--interval", "1ms")
	require.Equal(t, 2, r.code)
	require.Contains(t, r.errOut, "--interval 1ms is too short, the least is 200ms")

	r = relayctl(t, nil, "stats", "--watch", "--interval", "-1s")
	require.Equal(t, 2, r.code)
	require.Contains(t, r.errOut, "--interval -1s is too short")

	r = relayctl(t, nil, "partitions", "77", "--watch", "--server", serveLists(t))
	require.Equal(t, 2, r.code)
	require.Contains(t, r.errOut, `no partition "77"`)
}

// A try that ended amid the pages leaves nothing behind for the next one.
func TestAListBeginsWithItsFirstPage(t *testing.T) {
	t.Parallel()

	p := &program{environ: map[string]string{}}
	cmd, q := new(cobra.Command), new(question)
	p.addServerFlag(cmd, q)
	q.server = serveLists(t)

	partitions, err := fetchPartitions(t.Context(), q, &relayv1.ListPartitionsRequest{PageToken: "next"})
	require.NoError(t, err)
	require.Len(t, partitions.GetPartitions(), 3)

	instances, err := fetchInstances(t.Context(), q, &relayv1.ListInstancesRequest{PageToken: "next"})
	require.NoError(t, err)

	again, err := fetchInstances(t.Context(), q, new(relayv1.ListInstancesRequest))
	require.NoError(t, err)
	require.Len(t, instances.GetInstances(), len(again.GetInstances()))
}

// lists answers what the inventory does not.
type lists struct{ inventory }

func (*lists) ListGaps(context.Context, *relayv1.ListGapsRequest) (*relayv1.ListGapsResponse, error) {
	return &relayv1.ListGapsResponse{Gaps: []*relayv1.Gap{{Name: "1"}}}, nil
}

func (*lists) ListAuditRecords(context.Context, *relayv1.ListAuditRecordsRequest) (*relayv1.ListAuditRecordsResponse, error) {
	return &relayv1.ListAuditRecordsResponse{Records: []*relayv1.AuditRecord{{Action: "flow pause"}}}, nil
}

func serveLists(t *testing.T) string {
	t.Helper()

	addr, _ := serveStats(t, "127.0.0.1:0", new(lists))

	return addr
}

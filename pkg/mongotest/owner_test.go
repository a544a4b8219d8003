package mongotest_test

import (
	"bufio"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/atlas-relay/atlas-relay/pkg/mongotest"
)

const (
	waitLimit = 10 * time.Second
	tick      = 5 * time.Millisecond

	ownerVariable = "MONGOTEST_OWNER"
)

// TestOwner is no test of its own: it is the process that TestServersEndWithAKilledOwner kills.
func TestOwner(t *testing.T) {
	t.Parallel()

	if os.Getenv(ownerVariable) == "" {
		return
	}

	server := mongotest.New(t, mongotest.Options{})
	_, err := os.Stdout.WriteString("pid " + strconv.Itoa(server.PID()) + "\n")
	require.NoError(t, err)
	<-t.Context().Done()
}

func TestServersEndWithAKilledOwner(t *testing.T) {
	t.Parallel()

	if runtime.GOOS != "linux" {
		t.Log("only Linux can tie a process to its parent")

		return
	}

	temp := t.TempDir()
	owner := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestOwner$", "-test.v")
	owner.Env = append(os.Environ(), ownerVariable+"=1", "TMPDIR="+temp)
	output, err := owner.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, owner.Start())

	pid := readPID(t, bufio.NewScanner(output))
	require.True(t, processExists(pid))
	left := serverDirs(t, temp)
	require.Len(t, left, 1)

	require.NoError(t, owner.Process.Kill())
	require.Error(t, owner.Wait())
	require.Eventually(t, func() bool { return !processExists(pid) }, waitLimit, tick)
	require.Len(t, serverDirs(t, temp), 1, "the killed owner could not clean up")

	next := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestStandalone$")
	next.Env = append(os.Environ(), "TMPDIR="+temp)
	require.NoError(t, next.Run())
	require.Empty(t, serverDirs(t, temp), "the next server cleans up")
}

func readPID(t *testing.T, lines *bufio.Scanner) int {
	t.Helper()

	for lines.Scan() {
		if text, found := strings.CutPrefix(lines.Text(), "pid "); found {
			pid, err := strconv.Atoi(text)
			require.NoError(t, err)

			return pid
		}
	}

	require.Fail(t, "the owner printed no pid")

	return 0
}

func serverDirs(t *testing.T, temp string) []string {
	t.Helper()

	found, err := filepath.Glob(filepath.Join(temp, "atlas-relay-mongo-*"))
	require.NoError(t, err)

	return found
}

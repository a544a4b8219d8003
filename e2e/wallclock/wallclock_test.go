package wallclock_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/atlas-relay/atlas-relay/e2e/wallclock"
)

// childVariable makes this test program a child that says what time it is, each time it is asked.
const childVariable = "WALLCLOCK_CHILD"

func TestMain(m *testing.M) {
	if os.Getenv(childVariable) == "" {
		os.Exit(m.Run())
	}

	began := time.Now()

	// A thread that reads the clock all the time: it is exchanged under it.
	go func() {
		for {
			_ = time.Now()
		}
	}()

	for asked := bufio.NewScanner(os.Stdin); asked.Scan(); {
		now := time.Now()
		fmt.Println(now.UnixNano(), int64(now.Sub(began))) // Sub takes the monotonic clock
	}
}

// child is a process whose clock is asked for.
type child struct {
	cmd *exec.Cmd
	in  io.Writer
	out *bufio.Reader
}

func start(t *testing.T) *child {
	t.Helper()

	if err := wallclock.Supported(); err != nil {
		t.Skipf("NOT TESTED: %v", err)
	}

	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	cmd := exec.CommandContext(ctx, os.Args[0])
	cmd.Env = append(os.Environ(), childVariable+"=1")

	in, err := cmd.StdinPipe()
	require.NoError(t, err)
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())

	t.Cleanup(func() {
		cancel()

		_ = cmd.Wait() // it was killed
	})

	return &child{cmd: cmd, in: in, out: bufio.NewReader(out)}
}

// ask returns by how much the child's wall clock is off, and how long it says that it has run.
func (c *child) ask(t *testing.T) (off, ran time.Duration) {
	t.Helper()

	_, err := fmt.Fprintln(c.in)
	require.NoError(t, err)
	line, err := c.out.ReadString('\n')
	require.NoError(t, err)

	var wall int64

	_, err = fmt.Fscan(strings.NewReader(line), &wall, &ran)
	require.NoError(t, err, line)

	return time.Until(time.Unix(0, wall)), ran
}

// busy is how far two looks at a clock may lie apart on a machine that has much to do.
const busy = 5 * time.Minute

// TestShift sets the clock of a running process forwards, backwards and right again, while its threads read it. What it
// measures by its monotonic clock does not jump.
func TestShift(t *testing.T) {
	t.Parallel()

	c := start(t)
	_, before := c.ask(t)

	for _, by := range []time.Duration{time.Hour, -time.Hour, wallclock.Most, -wallclock.Most, 0} {
		require.NoError(t, wallclock.Shift(c.cmd.Process.Pid, by))

		off, ran := c.ask(t)
		require.InDelta(t, by, off, float64(busy), "set by %s", by)
		require.GreaterOrEqual(t, ran, before)
		require.Less(t, ran-before, busy)
		before = ran
	}
}

// TestOthersKeepTheirTime: only that process sees another time, not this one, nor the next of the same program.
func TestOthersKeepTheirTime(t *testing.T) {
	t.Parallel()

	c, other := start(t), start(t)
	before := time.Now()

	require.NoError(t, wallclock.Shift(c.cmd.Process.Pid, time.Hour))

	off, _ := other.ask(t)
	require.InDelta(t, 0, off, float64(busy))
	off, _ = start(t).ask(t)
	require.InDelta(t, 0, off, float64(busy))
	require.Less(t, time.Now().Round(0).Sub(before.Round(0)), busy) // by the wall clock
}

// TestNoSuchProcess: one that has ended has no clock.
func TestNoSuchProcess(t *testing.T) {
	t.Parallel()

	c := start(t)
	require.NoError(t, c.cmd.Process.Kill())
	require.Error(t, c.cmd.Wait())
	require.ErrorIs(t, wallclock.Shift(c.cmd.Process.Pid, time.Hour), os.ErrProcessDone)
}

// TestShiftFromTheStart: a process that is only just being started has its clock set, too.
func TestShiftFromTheStart(t *testing.T) {
	t.Parallel()

	for range 50 {
		c := start(t)
		require.NoError(t, wallclock.Shift(c.cmd.Process.Pid, time.Hour))
	}
}

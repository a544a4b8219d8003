package lifecycle_test

import (
	"bufio"
	"os"
	"os/exec"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/atlas-relay/atlas-relay/pkg/lifecycle"
)

const childVariable = "LIFECYCLE_CHILD"

// TestChild is no test of its own: it is the process that TestSignals ends. It does not stop when told to.
func TestChild(t *testing.T) {
	t.Parallel()

	if os.Getenv(childVariable) == "" {
		return
	}

	ctx, cancel := lifecycle.Signals(t.Context())
	defer cancel()

	_, err := os.Stdout.WriteString("running\n")
	require.NoError(t, err)
	<-ctx.Done()
	_, err = os.Stdout.WriteString("stopping\n")
	require.NoError(t, err)
	select {}
}

func TestSecondSignalEndsAProcessThatStillDrains(t *testing.T) {
	t.Parallel()

	for name, signals := range map[string][2]syscall.Signal{
		"ctrl-c twice":           {syscall.SIGINT, syscall.SIGINT},
		"terminate, then ctrl-c": {syscall.SIGTERM, syscall.SIGINT},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()

			child := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestChild$")
			child.Env = append(os.Environ(), childVariable+"=1")
			output, err := child.StdoutPipe()
			require.NoError(t, err)
			require.NoError(t, child.Start())

			lines := bufio.NewScanner(output)
			require.True(t, lines.Scan())
			require.Equal(t, "running", lines.Text())

			require.NoError(t, child.Process.Signal(signals[0]))
			require.True(t, lines.Scan())
			require.Equal(t, "stopping", lines.Text(), "the first signal only ends the context")

			require.NoError(t, child.Process.Signal(signals[1]))
			require.Error(t, child.Wait())

			status, ok := child.ProcessState.Sys().(syscall.WaitStatus)
			require.True(t, ok)
			require.Equal(t, signals[1], status.Signal())
		})
	}
}

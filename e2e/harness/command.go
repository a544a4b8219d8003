package harness

import (
	"context"
	"fmt"
	"io"
	"os"

	"github.com/atlas-relay/atlas-relay/pkg/lifecycle"
	"github.com/atlas-relay/atlas-relay/pkg/settings"
)

// Main is the main function of a command that is told everything by settings: it runs until that is done or a signal
// comes, says what went wrong under the command's name, and ends the process.
func Main[C any](name string, run func(ctx context.Context, cfg *C, out io.Writer) error) {
	ctx, stop := lifecycle.Signals(context.Background())

	cfg := new(C)

	err := settings.Load(cfg, settings.Environ(os.Environ()))
	if err == nil {
		err = run(ctx, cfg, os.Stdout)
	}

	stop()

	if err != nil {
		fmt.Fprintln(os.Stderr, name+":", err)
	}

	os.Exit(lifecycle.ExitCode(err))
}

// The listener copies every change of a MongoDB source into a JetStream stream.
package main

import (
	"context"
	"fmt"
	"os"

	"github.com/atlas-relay/atlas-relay/pkg/lifecycle"
	"github.com/atlas-relay/atlas-relay/pkg/service"
	"github.com/atlas-relay/atlas-relay/pkg/settings"
)

func main() {
	ctx, stop := lifecycle.Signals(context.Background())

	err := realMain(ctx, os.Args[1:], settings.Environ(os.Environ()))

	stop()

	if err != nil {
		fmt.Fprintln(os.Stderr, "listener:", err)
	}

	os.Exit(lifecycle.ExitCode(err))
}

func realMain(ctx context.Context, args []string, environ map[string]string) error {
	cfg := newConfig()

	return service.Main(ctx, "listener", args, environ, cfg, func(ctx context.Context, p *service.Process) error {
		service.LimitMemory(environ, cfg.MemoryBudget)

		return run(ctx, cfg, p)
	})
}

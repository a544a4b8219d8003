// The stats service tells how flows are doing, over gRPC and HTTP, on a page, and as metrics.
package main

import (
	"context"
	"fmt"
	"os"

	"github.com/atlas-relay/atlas-relay/pkg/lifecycle"
	"github.com/atlas-relay/atlas-relay/pkg/service"
	"github.com/atlas-relay/atlas-relay/pkg/settings"
	"github.com/atlas-relay/atlas-relay/services/stats/internal/api"
)

func main() {
	ctx, stop := lifecycle.Signals(context.Background())

	err := realMain(ctx, os.Args[1:], settings.Environ(os.Environ()))

	stop()

	if err != nil {
		fmt.Fprintln(os.Stderr, "stats:", err)
	}

	os.Exit(lifecycle.ExitCode(err))
}

func realMain(ctx context.Context, args []string, environ map[string]string) error {
	cfg := newConfig()

	// stats errors prints what the API may answer, for the reference.
	if len(args) == 1 && args[0] == "errors" {
		return api.WriteReasons(os.Stdout)
	}

	return service.Main(ctx, "stats", args, environ, cfg, func(ctx context.Context, p *service.Process) error {
		service.LimitMemory(environ, memoryBudget)

		return run(ctx, cfg, p)
	})
}

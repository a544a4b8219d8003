// The processor applies the changes of a JetStream stream to a MongoDB target.
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
		fmt.Fprintln(os.Stderr, "processor:", err)
	}

	os.Exit(lifecycle.ExitCode(err))
}

func realMain(ctx context.Context, args []string, environ map[string]string) error {
	cfg := newConfig()

	return service.Main(ctx, "processor", args, environ, cfg, func(ctx context.Context, p *service.Process) error {
		// The budget is for events; the runtime and the clients take some more.
		service.LimitMemory(environ, cfg.MemoryBudget+cfg.MemoryBudget/4)

		return run(ctx, cfg, p)
	})
}

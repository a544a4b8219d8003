// Command demo shows the main job on this machine: two MongoDBs, NATS, the services as separate processes, live traffic
// that may be disturbed, and a comparison of source and target, byte by byte.
package main

import (
	"context"
	"fmt"
	"os"

	"github.com/atlas-relay/atlas-relay/pkg/lifecycle"
	"github.com/atlas-relay/atlas-relay/pkg/settings"
)

func main() {
	ctx, stop := lifecycle.Signals(context.Background())

	err := realMain(ctx, settings.Environ(os.Environ()))

	stop()

	if err != nil {
		fmt.Fprintln(os.Stderr, "demo:", err)
	}

	os.Exit(lifecycle.ExitCode(err))
}

func realMain(ctx context.Context, environ map[string]string) error {
	cfg := new(Config)
	if err := settings.Load(cfg, environ); err != nil {
		return err
	}

	return run(ctx, cfg, os.Stdout)
}

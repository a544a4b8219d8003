// Command chaos runs the relay under load, breaks it, and says what is wrong afterwards: one run for each seed.
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
		fmt.Fprintln(os.Stderr, "chaos:", err)
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

// Command watch follows chaos runs of the demo from their start to their end in every way in which an operator looks at a
// flow: the page in a browser, relayctl top in a terminal, relayctl status, and a Prometheus. It prints when each of them
// told of each fault, and whether they ever disagreed.
package main

import (
	"context"
	"fmt"
	"os"

	"github.com/atlas-relay/atlas-relay/pkg/lifecycle"
	"github.com/atlas-relay/atlas-relay/pkg/settings"
)

// Config is everything that it can be told.
type Config struct {
	Seconds    int    `env:"DEMO_SECONDS" envDefault:"60" min:"10" max:"86400" help:"how long the traffic and the chaos of a run last"`
	Seed       uint64 `env:"DEMO_SEED"    help:"of the first run, each further one has the next; 0: a new one each time"`
	Processors int    `env:"PROCESSORS"   envDefault:"3" min:"1" max:"64" help:"how many share the partitions in the beginning"`
	Runs       int    `env:"RUNS"         envDefault:"1" min:"1" max:"1000" help:"how many"`
	Dir        string `env:"WATCH_DIR"    help:"where every look, and what the demo printed, are kept; empty: nowhere"`
}

func main() {
	ctx, stop := lifecycle.Signals(context.Background())

	err := realMain(ctx, settings.Environ(os.Environ()))

	stop()

	if err != nil {
		fmt.Fprintln(os.Stderr, "watch:", err)
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

// Relayctl is the operator's command line: how flows are doing, and making and
// removing them.
package main

import (
	"context"
	"os"

	"github.com/atlas-relay/atlas-relay/pkg/lifecycle"
	"github.com/atlas-relay/atlas-relay/pkg/settings"
)

func main() {
	ctx, stop := lifecycle.Signals(context.Background())
	code := execute(ctx, streams{in: os.Stdin, out: os.Stdout, err: os.Stderr}, os.Args[1:], settings.Environ(os.Environ()))

	stop()
	os.Exit(code)
}

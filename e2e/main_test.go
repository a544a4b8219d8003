package e2e_test

import (
	"context"
	"fmt"
	"os"
	"testing"

	"go.uber.org/goleak"

	"github.com/atlas-relay/atlas-relay/e2e/harness"
)

var programs harness.Programs

// TestMain builds the services from this tree, once.
func TestMain(m *testing.M) {
	dir, err := os.MkdirTemp("", "atlas-relay-e2e-*")
	if err == nil {
		programs, err = harness.Build(context.Background(), dir, buildFlags...)
	}

	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}

	goleak.VerifyTestMain(m, goleak.Cleanup(func(code int) {
		_ = os.RemoveAll(dir)

		os.Exit(code)
	}))
}

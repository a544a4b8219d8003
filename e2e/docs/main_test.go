package docs_test

import (
	"bytes"
	"context"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/atlas-relay/atlas-relay/e2e/harness"
)

var (
	update   = flag.Bool("update", false, "rewrite deploy/SETTINGS.md")
	programs harness.Programs
	root     string
)

// TestMain builds the programs: they alone know their settings.
func TestMain(m *testing.M) {
	flag.Parse()
	os.Exit(run(m))
}

func run(m *testing.M) int {
	ctx := context.Background()

	dir, err := os.MkdirTemp("", "atlas-relay-docs-*")
	if err == nil {
		defer os.RemoveAll(dir)

		programs, err = harness.Build(ctx, dir)
	}

	if err == nil {
		root, err = harness.Root(ctx)
	}

	if err != nil {
		fmt.Fprintln(os.Stderr, err)

		return 1
	}

	return m.Run()
}

// setting is a row of the reference that a program prints.
type setting struct {
	name, preset, meaning string
}

// reference asks a program for its settings.
func reference(t *testing.T, program string) []setting {
	t.Helper()

	var out, problems bytes.Buffer

	cmd := exec.CommandContext(t.Context(), programs.Path(program), "config")
	cmd.Stdout, cmd.Stderr = &out, &problems
	require.NoError(t, cmd.Run(), "%s config: %s", program, problems.String())

	var settings []setting

	for line := range strings.Lines(out.String()) {
		cells := strings.Split(strings.Trim(strings.TrimSpace(line), "|"), " | ")
		require.Len(t, cells, 3, "%s config printed %q", program, line)
		settings = append(settings, setting{
			name: strings.Trim(cells[0], " `"), preset: strings.TrimSpace(cells[1]), meaning: strings.TrimSpace(cells[2]),
		})
	}

	require.NotEmpty(t, settings)

	return settings
}

func read(t *testing.T, path ...string) string {
	t.Helper()

	content, err := os.ReadFile(filepath.Join(append([]string{root}, path...)...))
	require.NoError(t, err)

	return string(content)
}

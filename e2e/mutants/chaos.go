package mutants

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// chaosRun is what the command of chaos runs says of one seed.
type chaosRun struct {
	wrong   string // what is wrong; empty: nothing
	nothing string // why it says nothing; empty: it does
}

// chaosCommand builds the command. What it builds itself has the mutant, too.
func (r *Runner) chaosCommand(ctx context.Context, overlay, dir string) (string, error) {
	path := filepath.Join(dir, "chaos")

	cmd := exec.CommandContext(ctx, "go", "build", "-o", path, "./e2e/cmd/chaos")
	cmd.Dir, cmd.Env = r.Root, environ(overlay)

	if out, err := output(cmd); err != nil {
		return "", fmt.Errorf("%w: the command of chaos runs: %w\n%s", errBuild, err, out)
	}

	return path, nil
}

// chaosTimeout is above the patience of all waits of a short run.
const chaosTimeout = 20 * time.Minute

// chaos makes a short run with a seed.
func (r *Runner) chaos(ctx context.Context, path, overlay string, seed int) (chaosRun, error) {
	running, cancel := context.WithTimeout(ctx, chaosTimeout)
	defer cancel()

	cmd := exec.CommandContext(running, path)
	cmd.Dir = r.Root
	cmd.Env = append(environ(overlay), "SEED="+strconv.Itoa(seed), "RUNS=1", "SHORT=1", "CHAOS_DIR="+filepath.Join(filepath.Dir(path), "runs"))
	cmd.WaitDelay = time.Minute // it ends its services

	out, err := output(cmd)

	if ctx.Err() != nil {
		return chaosRun{}, context.Cause(ctx)
	}

	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		return chaosRun{}, fmt.Errorf("make a chaos run: %w", err)
	}

	return readChaos(string(out), err == nil), nil
}

// readChaos reads the verdict.
func readChaos(output string, good bool) chaosRun {
	verdict := regexp.MustCompile(`(?m)^seed \d+: (.*)$`).FindStringSubmatch(output)

	switch {
	case good:
		return chaosRun{}
	case verdict == nil:
		return chaosRun{nothing: "it gave no verdict: " + lastLine(output)}
	case strings.HasPrefix(verdict[1], "good"), strings.HasPrefix(verdict[1], "could not be made"):
		return chaosRun{nothing: verdict[1]}
	default:
		return chaosRun{wrong: verdict[1]}
	}
}

func lastLine(text string) string {
	lines := strings.Split(strings.TrimSpace(text), "\n")

	return lines[len(lines)-1]
}

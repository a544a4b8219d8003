// Command fuzz runs every fuzz target of the workspace, one after the other, for FUZZ_SECONDS each (30), and stops at the
// first one that fails. What it found then lies in the package's testdata, where make test runs it again.
package main

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"strconv"
	"strings"
	"syscall"
	"time"
)

const defaultSeconds = 30

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()

	if err := run(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "fuzz:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context) error {
	each, err := seconds(os.Getenv("FUZZ_SECONDS"))
	if err != nil {
		return err
	}

	targets, err := list(ctx)
	if err != nil {
		return err
	}

	for i, t := range targets {
		fmt.Printf("%d/%d %s %s\n", i+1, len(targets), t.pkg, t.name)

		cmd := exec.CommandContext(ctx, "go", "test", t.pkg, "-run", "^$", "-fuzz", "^"+t.name+"$", "-fuzztime", each.String())
		cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr

		if err := cmd.Run(); err != nil {
			return fmt.Errorf("%s of %s: %w", t.name, t.pkg, err)
		}
	}

	return nil
}

func seconds(text string) (time.Duration, error) {
	if text == "" {
		return defaultSeconds * time.Second, nil
	}

	n, err := strconv.Atoi(text)
	if err != nil || n < 1 {
		return 0, fmt.Errorf("FUZZ_SECONDS=%s: must be a number of seconds, for example FUZZ_SECONDS=300", text)
	}

	return time.Duration(n) * time.Second, nil
}

// target is a fuzz function.
type target struct{ pkg, name string }

// list asks the packages of the workspace for their targets: go test prints the names, and then the package.
func list(ctx context.Context) ([]target, error) {
	cmd := exec.CommandContext(ctx, "go", "test", "-list", "^Fuzz", "work")
	cmd.Stderr = os.Stderr

	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("list the fuzz targets: %w", err)
	}

	return parse(out), nil
}

func parse(out []byte) []target {
	var (
		all   []target
		names []string
	)

	for lines := bufio.NewScanner(bytes.NewReader(out)); lines.Scan(); {
		switch fields := strings.Fields(lines.Text()); {
		case len(fields) == 1 && strings.HasPrefix(fields[0], "Fuzz"):
			names = append(names, fields[0])
		case len(fields) > 1 && fields[0] == "ok":
			for _, name := range names {
				all = append(all, target{fields[1], name})
			}

			names = nil
		}
	}

	return all
}

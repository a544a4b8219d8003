package harness

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// The programs of the relay, and the NATS server that stands beside them here.
const (
	Listener  = "listener"
	Processor = "processor"
	Stats     = "stats"
	Relayctl  = "relayctl"
	NATSD     = "natsd"
)

const module = "github.com/atlas-relay/atlas-relay/"

// Programs is the directory of the built programs.
type Programs string

// Path is where a program is.
func (p Programs) Path(name string) string { return filepath.Join(string(p), name) }

// Build builds the programs from this tree into dir. Extra arguments, such as -race, go to go build. What the build
// cache has takes a few seconds.
func Build(ctx context.Context, dir string, extra ...string) (Programs, error) {
	root, err := Root(ctx)
	if err != nil {
		return "", err
	}

	return BuildAt(ctx, root, dir, extra...)
}

// BuildAt builds the programs from the tree at root, which may be another revision than this one.
func BuildAt(ctx context.Context, root, dir string, extra ...string) (Programs, error) {
	args := append([]string{"build", "-o", dir + string(filepath.Separator)}, extra...)
	args = append(args,
		module+"services/listener", module+"services/processor", module+"services/stats", module+"services/relayctl",
		module+"e2e/cmd/natsd")

	cmd := exec.CommandContext(ctx, "go", args...)
	cmd.Dir = root

	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build the services: %w\n%s", err, out)
	}

	return Programs(dir), nil
}

// Root is the directory of go.work.
func Root(ctx context.Context) (string, error) {
	out, err := exec.CommandContext(ctx, "go", "env", "GOWORK").Output()
	if err != nil {
		return "", fmt.Errorf("ask go for its workspace: %w", err)
	}

	work := strings.TrimSpace(string(out))
	if work == "" || work == "off" {
		return "", errors.New("no go.work: run this inside the repository, without GOWORK=off")
	}

	return filepath.Dir(work), nil
}

// tempDir makes a directory that remove deletes again.
func tempDir() (path string, remove func() error, err error) {
	path, err = os.MkdirTemp("", "atlas-relay-*")
	if err != nil {
		return "", nil, fmt.Errorf("make a temporary directory: %w", err)
	}

	return path, func() error { return os.RemoveAll(path) }, nil
}

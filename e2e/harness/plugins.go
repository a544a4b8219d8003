package harness

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
)

// plugin is a part of the docker client that is a program of its own.
type plugin struct {
	command string // of docker
	module  string
	version string
	main    string // directory of the main package
	stamp   string // variable that holds the version: compose refuses a buildx that does not know its own
}

// plugins are built where the client has none. Their modules replace others, so go install refuses them.
var plugins = []plugin{ //nolint:gochecknoglobals // a constant list
	{command: "compose", module: "github.com/docker/compose/v2", version: "v2.40.3", main: "./cmd", stamp: "/internal.Version"},
	{command: "buildx", module: "github.com/docker/buildx", version: "v0.29.1", main: "./cmd/buildx", stamp: "/version.Version"},
}

// complete gives the client the plugins that it lacks. It then reads its configuration beside them, not that of this user.
func (d *Docker) complete(ctx context.Context, cache string, progress io.Writer) error {
	lacks := func(p plugin) bool {
		_, err := d.Run(ctx, p.command, "version")

		return err != nil
	}

	if !slices.ContainsFunc(plugins, lacks) {
		return nil
	}

	config := filepath.Join(cache, "docker-client")
	d.env["DOCKER_CONFIG"] = config

	for _, p := range plugins {
		if !lacks(p) {
			continue
		}

		_, _ = fmt.Fprintf(progress, "docker has no %s: building %s %s, once\n", p.command, p.module, p.version)

		if err := p.build(ctx, filepath.Join(config, "cli-plugins", "docker-"+p.command)); err != nil {
			return err
		}
	}

	return nil
}

// build builds the plugin from its module.
func (p plugin) build(ctx context.Context, path string) error {
	return BuildModule(ctx, p.module, p.version, p.main, path, "-ldflags", "-X "+p.module+p.stamp+"="+p.version)
}

// BuildModule builds a program whose module go install refuses, in a copy of it: the module cache is read-only. Extra
// arguments go to go build.
func BuildModule(ctx context.Context, module, version, main, path string, extra ...string) (err error) {
	source, err := download(ctx, module+"@"+version)
	if err != nil {
		return err
	}

	dir, remove, err := tempDir()
	if err != nil {
		return err
	}

	defer func() { err = errors.Join(err, remove()) }()

	dir = filepath.Join(dir, "module")
	if err := os.CopyFS(dir, os.DirFS(source)); err != nil {
		return fmt.Errorf("copy %s: %w", module, err)
	}

	args := append([]string{"build", "-trimpath", "-o", path}, extra...)
	cmd := exec.CommandContext(ctx, "go", append(args, main)...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "GOWORK=off", "GOFLAGS=-mod=mod", "CGO_ENABLED=0")

	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("build %s: %w\n%s", module, err, lastWords(out))
	}

	return nil
}

// download brings a module into the module cache and returns its directory.
func download(ctx context.Context, module string) (string, error) {
	cmd := exec.CommandContext(ctx, "go", "mod", "download", "-json", module)
	cmd.Env = append(os.Environ(), "GOWORK=off")

	out, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("download %s: %w\n%s", module, err, lastWords(out))
	}

	var answer struct{ Dir string }
	if err := json.Unmarshal(out, &answer); err != nil {
		return "", fmt.Errorf("download %s: %w", module, err)
	}

	return answer.Dir, nil
}

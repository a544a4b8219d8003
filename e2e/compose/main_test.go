//go:build compose

package compose_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/atlas-relay/atlas-relay/e2e/harness"
	"github.com/atlas-relay/atlas-relay/e2e/standins"
)

// theStack is what all tests use, one after the other; each finds it up, or brings it up.
var theStack *stack

// TestMain finds or starts an engine, provides the images, and clones this repository. Ctrl-C cleans up too.
func TestMain(m *testing.M) {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)

	dir, err := os.MkdirTemp("", "atlas-relay-compose-*")
	if err == nil {
		theStack, err = open(ctx, dir)
	}

	end := sync.OnceValue(func() error {
		var left error
		if theStack != nil {
			left = theStack.close(context.WithoutCancel(ctx))
		}

		return errors.Join(err, left, os.RemoveAll(dir))
	})

	interrupted := context.AfterFunc(ctx, func() { exit(130, end()) })

	code := 1
	if err == nil {
		code = m.Run()
	}

	err = end()

	interrupted()
	stop()
	exit(code, err)
}

func exit(code int, err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)

		code = max(code, 1)
	}

	os.Exit(code)
}

// open prepares everything but the project itself.
func open(ctx context.Context, dir string) (*stack, error) {
	docker, err := harness.OpenDocker(ctx, os.Stderr)
	if err != nil {
		return nil, err
	}

	s := &stack{docker: docker, interrupt: ctx}

	if docker.Own { // a run that was killed may have left its project: its containers come back with the engine
		if err := removeLeftovers(ctx, docker); err != nil {
			return nil, errors.Join(err, docker.Close(ctx))
		}
	}

	s.standIns, err = standins.Provide(ctx, docker, os.Stderr, needed()...)
	if err != nil {
		return nil, errors.Join(err, docker.Close(ctx))
	}

	tree := filepath.Join(dir, "clone")

	if err := clone(ctx, tree); err != nil {
		return nil, errors.Join(err, s.standIns.Remove(ctx), docker.Close(ctx))
	}

	s.compose = &harness.Compose{Docker: docker, Dir: tree, Name: projects + bson.NewObjectID().Hex()}

	return s, nil
}

// projects is how their names begin.
const projects = "relay-test-"

func removeLeftovers(ctx context.Context, docker *harness.Docker) error {
	out, err := docker.Run(ctx, "volume", "ls", "--format", `{{.Label "com.docker.compose.project"}}`)
	if err != nil {
		return err
	}

	names := strings.Fields(out)
	slices.Sort(names)

	for _, name := range slices.Compact(names) {
		if !strings.HasPrefix(name, projects) {
			continue
		}

		// Without its file compose goes by the labels.
		left := &harness.Compose{Docker: docker, Dir: os.TempDir(), Name: name}
		if err := left.Remove(ctx); err != nil {
			return err
		}
	}

	if _, err := docker.Run(ctx, "image", "prune", "--force", "--filter", "label="+standins.Label); err != nil {
		return err
	}

	images, err := docker.Run(ctx, "image", "ls", "--quiet", "--filter", "reference="+projects+"*")
	if err != nil || images == "" {
		return err
	}

	_, err = docker.Run(ctx, append([]string{"rmi", "--force"}, strings.Fields(images)...)...)

	return err
}

// needed are the images without which nothing starts.
func needed() []string { return []string{"mongo:8", "nats:2.15-alpine", "golang:1.26-alpine"} }

// clone makes a clean clone of this repository, with what has been changed in files that git knows.
func clone(ctx context.Context, dir string) error {
	root, err := harness.Root(ctx)
	if err != nil {
		return err
	}

	git := func(in string, args ...string) (string, error) {
		cmd := exec.CommandContext(ctx, "git", args...)
		cmd.Stdin = strings.NewReader(in)

		out, err := cmd.Output()
		if err != nil {
			return "", fmt.Errorf("git %s: %w", strings.Join(args, " "), err)
		}

		return string(out), nil
	}

	if _, err := git("", "clone", "--quiet", "--no-hardlinks", root, dir); err != nil {
		return err
	}

	changes, err := git("", "-C", root, "diff", "--binary", "HEAD")
	if err != nil || changes == "" {
		return err
	}

	_, err = git(changes, "-C", dir, "apply", "-")

	return err
}

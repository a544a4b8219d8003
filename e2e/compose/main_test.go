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
	"strings"
	"syscall"
	"testing"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/atlas-relay/atlas-relay/e2e/harness"
	"github.com/atlas-relay/atlas-relay/e2e/standins"
)

// theStack is what all tests use, one after the other; each finds it up, or brings it up.
var theStack *stack

// TestMain finds or starts an engine, provides the images, and clones this repository.
func TestMain(m *testing.M) {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	code := run(ctx, m)

	stop()
	os.Exit(code)
}

func run(ctx context.Context, m *testing.M) (code int) {
	dir, err := os.MkdirTemp("", "atlas-relay-compose-*")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)

		return 1
	}

	theStack, err = open(ctx, dir)
	if err == nil {
		code = m.Run()
		err = theStack.close(context.WithoutCancel(ctx))
	}

	if err = errors.Join(err, os.RemoveAll(dir)); err != nil {
		fmt.Fprintln(os.Stderr, err)

		return 1
	}

	return code
}

// open prepares everything but the project itself.
func open(ctx context.Context, dir string) (*stack, error) {
	docker, err := harness.OpenDocker(ctx, os.Stderr)
	if err != nil {
		return nil, err
	}

	s := &stack{docker: docker}

	s.standIns, err = standins.Provide(ctx, docker, os.Stderr, needed()...)
	if err != nil {
		return nil, errors.Join(err, docker.Close(ctx))
	}

	tree := filepath.Join(dir, "clone")

	if err := clone(ctx, tree); err != nil {
		return nil, errors.Join(err, s.standIns.Remove(ctx), docker.Close(ctx))
	}

	s.compose = &harness.Compose{Docker: docker, Dir: tree, Name: "relay-test-" + bson.NewObjectID().Hex()}

	return s, nil
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

// Command dist looks at what make release has built in dist, as whoever installs it would: checksums, archives, binaries,
// SBOMs. Given names of services it first saves their images there, with an SBOM of each, and looks at those too:
//
//	RELAY_VERSION=v1.2.3 RELAY_REVISION=… go run ./e2e/cmd/dist listener processor
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"syscall"

	"github.com/atlas-relay/atlas-relay/e2e/harness"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)

	err := run(ctx, os.Args[1:], os.Getenv("RELAY_VERSION"), os.Getenv("RELAY_REVISION"))

	stop()

	if err != nil {
		fmt.Fprintln(os.Stderr, "dist:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, services []string, version, revision string) error {
	if version == "" || revision == "" {
		return errors.New("RELAY_VERSION and RELAY_REVISION must say what was built: use make archives, make images or make release")
	}

	root, err := harness.Root(ctx)
	if err != nil {
		return err
	}

	r := &release{
		dir: filepath.Join(root, "dist"), tree: root, version: version, revision: revision,
		programs:  []string{harness.Listener, harness.Processor, harness.Stats, harness.Relayctl},
		platforms: []platform{{"linux", "amd64"}, {"linux", "arm64"}, {"darwin", "amd64"}, {"darwin", "arm64"}},
	}

	if len(services) > 0 {
		if err := r.saveImages(ctx, filepath.Join(root, "bin", "sbom"), services); err != nil {
			return err
		}
	}

	if err := r.check(ctx, services); err != nil {
		return fmt.Errorf("what was built is not fit to be published: %w", err)
	}

	fmt.Printf("dist: %s: archives for %d platforms, %d images, SBOMs and checksums are as they should be\n", version, len(r.platforms), len(services))

	return nil
}

// release is a directory with what is published, and what it ought to be.
type release struct {
	dir       string
	tree      string // where it was built: no binary may tell
	version   string // that every binary says
	revision  string // the commit
	programs  []string
	platforms []platform
}

// platform is an operating system and a processor, as Go names them.
type platform struct{ os, arch string }

func (p platform) String() string { return p.os + "_" + p.arch }

// here tells whether programs of the platform run on this machine.
func (p platform) here() bool { return p == platform{runtime.GOOS, runtime.GOARCH} }

// check looks at everything, and says all that is wrong.
func (r *release) check(ctx context.Context, services []string) error {
	errs := []error{r.checkSums()}

	for _, p := range r.platforms {
		errs = append(errs, r.checkArchive(ctx, p))
	}

	for _, service := range services {
		errs = append(errs, r.checkImage(ctx, service))
	}

	return errors.Join(errs...)
}

// file is the only one in the directory whose name fits: the middle of it is the version as goreleaser writes it.
func (r *release) file(pattern string) (string, error) {
	found, err := filepath.Glob(filepath.Join(r.dir, pattern))
	if err != nil {
		return "", err
	}

	if len(found) != 1 {
		return "", fmt.Errorf("there are %d files %s instead of one", len(found), pattern)
	}

	return found[0], nil
}

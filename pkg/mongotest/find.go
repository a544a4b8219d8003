// Package mongotest gives tests, the demo and the benchmark a server that speaks the protocol of MongoDB as a replica
// set.
//
// It is the one place that decides which server that is (Find), says why, and knows where a stand-in differs from
// mongod (Features). Servers are separate processes on 127.0.0.1 with a free port and a temporary directory; they end
// with the process that started them, also when that one is killed.
package mongotest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/atlas-relay/atlas-relay/pkg/settings"
)

// Flavor is a kind of server.
type Flavor string

// The flavors, the best evidence first.
const (
	Given          Flavor = "given URI"     // whatever the URI leads to
	Mongod         Flavor = "mongod"        // the real one
	SecantusRust   Flavor = "secantusd-rs"  // stand-in, Rust
	MongodInDocker Flavor = "mongo:8 image" // the real one, in a container
	SecantusPython Flavor = "secantusd-py"  // stand-in, Python; several times slower
)

const (
	rustVersion   = "0.5.3-beta.196"
	pythonVersion = "0.7.0b3"
	dockerImage   = "mongo:8"

	// StandInLabel is on an image that bears the name of another: while make test-compose runs, mongo:8 may be one.
	StandInLabel = "dev.atlas-relay.stand-in"

	// InstallMongod is the page with the commands that install the real server.
	InstallMongod = "https://www.mongodb.com/docs/manual/administration/install-on-linux/"
)

// ErrNoServer says that no server was found and none could be installed.
var ErrNoServer = errors.New("no MongoDB server")

// FindOptions adjusts Find.
type FindOptions struct {
	// URI, when set, is taken as it is.
	URI settings.URI
	// Quick prefers, when nothing is installed, what installs in twenty seconds (Python) to what is fast and takes five
	// minutes to build (Rust): a person is waiting.
	Quick bool
	// Progress is told what is being installed and how it goes; nil is silence.
	Progress io.Writer
	// CacheDir keeps what Find installs; empty is atlas-relay in the user's cache directory.
	CacheDir string
	// Path lists the directories of programs; empty is PATH.
	Path string
}

// look finds a program in the directories of Path.
func (o FindOptions) look(program string) (string, error) {
	if o.Path == "" {
		return exec.LookPath(program)
	}

	for _, dir := range filepath.SplitList(o.Path) {
		if path, err := exec.LookPath(filepath.Join(dir, program)); err == nil {
			return path, nil
		}
	}

	return "", exec.ErrNotFound
}

// Choice is the server that Find decided for.
type Choice struct {
	Flavor Flavor
	URI    settings.URI // of the flavor Given
	Path   string       // of the program, otherwise
	Why    string       // how it was found
	Better string       // command that installs something better; empty when there is nothing better
}

// String says which server it is, why, and how to get a better one.
func (c Choice) String() string {
	text := fmt.Sprintf("MongoDB: %s (%s)", c.Flavor, c.Why)
	if c.Better != "" {
		text += "; for a better one: " + c.Better
	}

	return text
}

// Find takes the first of: the given URI; mongod on PATH; secantusd-rs on PATH or in the cache; the image mongo:8 on a
// Docker engine that answers; and else installs one into the cache, the Rust stand-in, or the Python one when Quick is
// set. Without any of them it returns ErrNoServer with the command that installs one.
func Find(ctx context.Context, o FindOptions) (Choice, error) {
	if !o.URI.IsZero() {
		return Choice{Flavor: Given, URI: o.URI, Why: "its URI was given"}, nil
	}

	if path, err := o.look("mongod"); err == nil {
		return Choice{Flavor: Mongod, Path: path, Why: "found " + path}, nil
	}

	in, err := newInstaller(o)
	if err != nil {
		return Choice{}, err
	}

	if path, found := in.rust(); found {
		return rustChoice(path, "found "+path), nil
	}

	if path, found := in.dockerWithImage(ctx); found {
		return Choice{Flavor: MongodInDocker, Path: path, Why: "a Docker engine answers and has the image"}, nil
	}

	if o.Quick {
		return in.installPython(ctx)
	}

	return in.installRust(ctx)
}

func rustChoice(path, why string) Choice {
	return Choice{Flavor: SecantusRust, Path: path, Why: why, Better: "install mongod: " + InstallMongod}
}

// rust looks for the Rust stand-in.
func (in *installer) rust() (string, bool) {
	if path, err := in.look("secantusd-rs"); err == nil {
		return path, true
	}

	path := filepath.Join(in.rustRoot(), "bin", "secantusd-rs")
	_, err := os.Stat(path)

	return path, err == nil
}

const (
	dockerAnswer = 5 * time.Second
	dockerPull   = 5 * time.Minute
)

// dockerWithImage tells whether a Docker engine answers and has the image, or can fetch it.
func (in *installer) dockerWithImage(ctx context.Context) (string, bool) {
	path, err := in.look("docker")
	if err != nil {
		return "", false
	}

	docker := func(limit time.Duration, args ...string) (string, error) {
		ctx, cancel := context.WithTimeout(ctx, limit)
		defer cancel()

		out, err := exec.CommandContext(ctx, path, args...).Output()

		return strings.TrimSpace(string(out)), err
	}

	if _, err := docker(dockerAnswer, "version", "--format", "{{.Server.Version}}"); err != nil {
		return "", false
	}

	standIn, err := docker(dockerAnswer, "image", "inspect", "--format", `{{index .Config.Labels "`+StandInLabel+`"}}`, dockerImage)
	if err == nil {
		return path, standIn == ""
	}

	_, _ = fmt.Fprintf(in.progress, "fetching the Docker image %s\n", dockerImage)

	_, err = docker(dockerPull, "pull", "--quiet", dockerImage)

	return path, err == nil
}

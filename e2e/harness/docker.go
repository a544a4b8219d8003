package harness

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// Docker is the docker client with compose, and the engine that it speaks to.
type Docker struct {
	// Own tells that the engine was started here: nobody else's containers, images or volumes are on it.
	Own bool

	env    map[string]string // of the client, and nothing of ours
	daemon *Process          // nil unless Own
	remove func() error
}

// Of an engine.
const (
	engineAnswer = 20 * time.Second
	engineStart  = 2 * time.Minute
	engineRetry  = 100 * time.Millisecond
)

// dockerVariables say which engine the client of this user reaches, and how.
var dockerVariables = []string{ //nolint:gochecknoglobals // a constant list
	"PATH", "HOME", "DOCKER_HOST", "DOCKER_CONTEXT", "DOCKER_CONFIG", "DOCKER_CERT_PATH", "DOCKER_TLS_VERIFY",
}

// OpenDocker takes the engine that the docker client of this user reaches. Where none answers it starts dockerd, which
// root may do, with a socket of its own, and its files in docker of the cache directory: images stay there for the next
// time. What the client lacks, compose or buildx, is built from its Go module into the cache directory. The caller must
// Close it.
func OpenDocker(ctx context.Context, progress io.Writer) (*Docker, error) {
	if _, err := exec.LookPath("docker"); err != nil {
		return nil, errors.New("no docker client: apt-get install docker.io, or https://docs.docker.com/engine/install/")
	}

	cache, err := os.UserCacheDir()
	if err != nil {
		return nil, fmt.Errorf("find the user's cache directory: %w", err)
	}

	cache = filepath.Join(cache, "atlas-relay")

	d := &Docker{env: map[string]string{}, remove: func() error { return nil }}

	for _, name := range dockerVariables {
		if value, given := os.LookupEnv(name); given {
			d.env[name] = value
		}
	}

	if !d.answers(ctx) {
		if err := d.start(ctx, cache); err != nil {
			return nil, err
		}

		_, _ = fmt.Fprintf(progress, "no Docker engine answered: started dockerd, with its files in %s\n", filepath.Join(cache, "docker"))
	}

	if err := d.complete(ctx, cache, progress); err != nil {
		return nil, errors.Join(err, d.Close(ctx))
	}

	return d, nil
}

func (d *Docker) answers(ctx context.Context) bool {
	ctx, cancel := context.WithTimeout(ctx, engineAnswer)
	defer cancel()

	_, err := d.Run(ctx, "version", "--format", "{{.Server.Version}}")

	return err == nil
}

// start runs dockerd. A socket, and not the usual one: whoever else looks for an engine on this host finds none, and so
// takes no stand-in for the image whose name it bears.
func (d *Docker) start(ctx context.Context, cache string) error {
	dockerd, err := exec.LookPath("dockerd")
	if err != nil {
		return errors.New("no Docker engine answers, and there is no dockerd that could be started: apt-get install docker.io")
	}

	dir, remove, err := tempDir()
	if err != nil {
		return err
	}

	host := "unix://" + filepath.Join(dir, "docker.sock")
	log := filepath.Join(dir, "dockerd.log")

	// On SIGTERM dockerd ends its containers; killed, it would leave them behind.
	d.daemon, err = spawn(dockerd, []string{
		"--host", host,
		"--data-root", filepath.Join(cache, "docker"),
		"--exec-root", filepath.Join(dir, "exec"),
		"--pidfile", filepath.Join(dir, "dockerd.pid"),
	}, nil, log, manner{orphaned: syscall.SIGTERM})
	if err != nil {
		return errors.Join(err, remove())
	}

	d.Own, d.remove = true, remove
	d.env["DOCKER_HOST"] = host
	delete(d.env, "DOCKER_CONTEXT")

	ctx, cancel := context.WithTimeout(ctx, engineStart)
	defer cancel()

	err = Await(ctx, engineRetry, func(ctx context.Context) (bool, error) {
		if !d.daemon.running() {
			return false, errors.New("dockerd " + d.daemon.How())
		}

		return d.answers(ctx), nil
	})
	if err != nil {
		words, _ := os.ReadFile(log)

		return errors.Join(fmt.Errorf("start dockerd, which needs root: %w\n%s", err, lastWords(words)), d.Close(ctx))
	}

	return nil
}

// lastWords is the end of some output, to stand in an error.
func lastWords(out []byte) string {
	const most = 2000

	return string(out[max(0, len(out)-most):])
}

// Run runs the client and returns what it wrote to stdout.
func (d *Docker) Run(ctx context.Context, args ...string) (string, error) {
	return d.run(ctx, call{args: args})
}

// Feed is Run with something to read on stdin.
func (d *Docker) Feed(ctx context.Context, in io.Reader, args ...string) (string, error) {
	return d.run(ctx, call{args: args, in: in})
}

// call is one run of a program that finds the engine.
type call struct {
	program string // empty: docker
	args    []string
	dir     string
	env     map[string]string // beside that of the client
	in      io.Reader
}

func (d *Docker) run(ctx context.Context, c call) (string, error) {
	var out, messages bytes.Buffer

	cmd := d.command(ctx, c)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = c.in, &out, &messages

	if err := cmd.Run(); err != nil {
		return out.String(), fmt.Errorf("%s: %w\n%s", strings.Join(cmd.Args, " "), err, lastWords(messages.Bytes()))
	}

	return strings.TrimSpace(out.String()), nil
}

// Stream runs the client and hands its stdout to a reader while it comes.
func (d *Docker) Stream(ctx context.Context, read func(io.Reader) error, args ...string) error {
	cmd := d.command(ctx, call{args: args})

	out, err := cmd.StdoutPipe()
	if err != nil {
		return fmt.Errorf("docker %s: %w", args[0], err)
	}

	if err := cmd.Start(); err != nil {
		return fmt.Errorf("docker %s: %w", args[0], err)
	}

	err = read(out)
	_, _ = io.Copy(io.Discard, out)

	return errors.Join(err, cmd.Wait())
}

func (d *Docker) command(ctx context.Context, c call) *exec.Cmd {
	all := maps.Clone(d.env)
	maps.Copy(all, c.env)

	cmd := exec.CommandContext(ctx, cmp.Or(c.program, "docker"), c.args...)
	cmd.Dir = c.dir
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.WaitDelay = orderly
	cmd.Env = []string{}

	for name, value := range all {
		cmd.Env = append(cmd.Env, name+"="+value)
	}

	return cmd
}

// Close ends an engine that was started here.
func (d *Docker) Close(ctx context.Context) error {
	if d.daemon == nil {
		return nil
	}

	return errors.Join(d.daemon.Stop(context.WithoutCancel(ctx)), d.remove())
}

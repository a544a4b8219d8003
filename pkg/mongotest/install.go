package mongotest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"
)

// installer puts servers into the cache directory. The stand-ins are programs of their own (GPL-2.0): they are started,
// never linked and never part of the tree.
type installer struct {
	look     func(program string) (string, error)
	cache    string
	progress io.Writer
}

func newInstaller(o FindOptions) (*installer, error) {
	in := &installer{look: o.look, cache: o.CacheDir, progress: o.Progress}

	if in.progress == nil {
		in.progress = io.Discard
	}

	if in.cache == "" {
		dir, err := os.UserCacheDir()
		if err != nil {
			return nil, fmt.Errorf("find the user's cache directory: %w", err)
		}

		in.cache = filepath.Join(dir, "atlas-relay")
	}

	return in, nil
}

func (in *installer) rustRoot() string {
	return filepath.Join(in.cache, "secantus-mdb-"+rustVersion)
}

func (in *installer) pythonRoot() string {
	return filepath.Join(in.cache, "secantusdb-py-"+pythonVersion)
}

// InstallStandIn is the path of the Rust stand-in, which is built where it is not there yet.
func InstallStandIn(ctx context.Context, progress io.Writer) (string, error) {
	in, err := newInstaller(FindOptions{Progress: progress})
	if err != nil {
		return "", err
	}

	if path, found := in.rust(); found {
		return path, nil
	}

	choice, err := in.installRust(ctx)

	return choice.Path, err
}

// installRust builds the Rust stand-in, once for all processes that ask at the same time.
func (in *installer) installRust(ctx context.Context) (Choice, error) {
	cargo, err := in.look("cargo")
	if err != nil {
		return Choice{}, fmt.Errorf("%w: neither mongod, Docker nor cargo is here; install Rust (https://rustup.rs) and run again, or install mongod: %s",
			ErrNoServer, InstallMongod)
	}

	unlock, err := in.lock(ctx)
	if err != nil {
		return Choice{}, err
	}
	defer unlock()

	path := filepath.Join(in.rustRoot(), "bin", "secantusd-rs")
	if _, err := os.Stat(path); err == nil {
		return rustChoice(path, "another process has just built it"), nil
	}

	_, _ = fmt.Fprintf(in.progress, "building secantusd-rs %s into %s: about five minutes, once\n", rustVersion, in.rustRoot())

	if err := in.run(ctx, cargo, "install", "secantus-mdb", "--version", rustVersion,
		"--ignore-rust-version", "--locked", "--root", in.rustRoot()); err != nil {
		return Choice{}, fmt.Errorf("%w: building secantusd-rs failed; a C compiler, cmake and a recent Rust are needed: %w", ErrNoServer, err)
	}

	return rustChoice(path, "built it with cargo"), nil
}

// installPython makes a virtual environment with the Python stand-in. Its marker is written last: an environment whose
// making was interrupted is made again.
func (in *installer) installPython(ctx context.Context) (Choice, error) {
	unlock, err := in.lock(ctx)
	if err != nil {
		return Choice{}, err
	}
	defer unlock()

	path := filepath.Join(in.pythonRoot(), "bin", "secantusd-py")
	marker := filepath.Join(in.pythonRoot(), "complete")
	choice := Choice{
		Flavor: SecantusPython, Path: path, Why: "found " + path,
		Better: "cargo install secantus-mdb --version " + rustVersion + " --ignore-rust-version --locked --root " + in.rustRoot(),
	}

	if _, err := os.Stat(marker); err == nil {
		return choice, nil
	}

	python, err := in.look("python3")
	if err != nil {
		return Choice{}, fmt.Errorf("%w: neither mongod, Docker nor python3 is here; install Python 3 (apt-get install python3-venv), or mongod: %s",
			ErrNoServer, InstallMongod)
	}

	_, _ = fmt.Fprintf(in.progress, "installing SecantusDB %s into %s: about twenty seconds, once\n", pythonVersion, in.pythonRoot())

	steps := [][]string{
		{python, "-m", "venv", "--clear", in.pythonRoot()},
		{filepath.Join(in.pythonRoot(), "bin", "python"), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "SecantusDB==" + pythonVersion},
	}
	for _, step := range steps {
		if err := in.run(ctx, step[0], step[1:]...); err != nil {
			return Choice{}, fmt.Errorf("%w: installing SecantusDB failed (apt-get install python3-venv may help): %w", ErrNoServer, err)
		}
	}

	choice.Why = "installed it with pip"

	if err := os.WriteFile(marker, nil, 0o600); err != nil {
		return Choice{}, fmt.Errorf("mark the environment as complete: %w", err)
	}

	return choice, nil
}

func (in *installer) run(ctx context.Context, program string, args ...string) error {
	cmd := exec.CommandContext(ctx, program, args...)
	cmd.Stdout, cmd.Stderr = in.progress, in.progress

	if err := cmd.Run(); err != nil {
		return fmt.Errorf("%s %s: %w", filepath.Base(program), args[0], err)
	}

	return nil
}

// lockRetry is how often a process that waits for another one's installation looks again.
const lockRetry = 200 * time.Millisecond

// lock waits until no other process installs. The lock belongs to the open file, so it ends with its holder.
func (in *installer) lock(ctx context.Context) (unlock func(), err error) {
	if err := os.MkdirAll(in.cache, 0o755); err != nil {
		return nil, fmt.Errorf("make the cache directory: %w", err)
	}

	file, err := os.OpenFile(filepath.Join(in.cache, "install.lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open the installation lock: %w", err)
	}

	ticker := time.NewTicker(lockRetry)
	defer ticker.Stop()

	for {
		err := syscall.Flock(int(file.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		if err == nil {
			return func() { _ = file.Close() }, nil
		}

		if !errors.Is(err, syscall.EWOULDBLOCK) {
			return nil, errors.Join(fmt.Errorf("take the installation lock: %w", err), file.Close())
		}

		select {
		case <-ctx.Done():
			return nil, errors.Join(fmt.Errorf("wait for another installation: %w", context.Cause(ctx)), file.Close())
		case <-ticker.C:
		}
	}
}

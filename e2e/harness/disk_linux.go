package harness

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"

	"golang.org/x/sys/unix"
)

// DiskLacks is why this machine can have no Disk; nil: it can. It tries.
func DiskLacks() (err error) {
	dir, remove, err := tempDir()
	if err != nil {
		return err
	}

	defer func() { err = errors.Join(err, remove()) }()

	const small = 4 << 20

	d, err := NewDisk(context.Background(), dir, "trial", small)
	if err != nil {
		return err
	}

	return d.Close()
}

// holdNamespace starts a process in a mount namespace of its own that has the image mounted, and does nothing more.
func holdNamespace(log, image, point string) (*Process, error) {
	unshare, err := exec.LookPath("unshare")
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrNoDisk, err)
	}

	args := []string{"--mount", "--propagation", "private", "--", "sh", "-c", `mount -o loop "$0" "$1" && exec sleep infinity`, image, point}

	return spawn(unshare, args, nil, log, manner{orphaned: syscall.SIGKILL})
}

// run runs a tool of the system.
func (*Disk) run(ctx context.Context, name string, args ...string) error {
	if out, err := exec.CommandContext(ctx, name, args...).CombinedOutput(); err != nil {
		return fmt.Errorf("%s %v: %w: %s", name, args, err, out)
	}

	return nil
}

// within runs a tool in the namespace.
func (d *Disk) within(ctx context.Context, args ...string) error {
	return d.run(ctx, "nsenter", append([]string{"--mount=" + d.namespace(), "--"}, args...)...)
}

// mostFills bounds the tries to take what is left while others write.
const mostFills = 100

// Fill leaves so many bytes free, or fewer: somebody else has taken the rest.
func (d *Disk) Fill(room int64) error {
	file, err := os.Create(filepath.Join(d.Dir(), ballastFile))
	if err != nil {
		return fmt.Errorf("fill a disk: %w", err)
	}

	size := int64(0)

	for range mostFills {
		var state unix.Statfs_t
		if err := unix.Statfs(d.Dir(), &state); err != nil {
			return errors.Join(fmt.Errorf("fill a disk: %w", err), file.Close())
		}

		rest := int64(state.Bavail)*state.Bsize - room
		if rest <= 0 {
			return file.Close()
		}

		// The server takes some of it meanwhile: then there is less to take.
		err := unix.Fallocate(int(file.Fd()), 0, size, rest)

		switch {
		case err == nil:
			size += rest
		case !errors.Is(err, unix.ENOSPC):
			return errors.Join(fmt.Errorf("fill a disk with %d bytes: %w", rest, err), file.Close())
		}
	}

	return errors.Join(fmt.Errorf("fill a disk: it has more than %d bytes left after %d tries", room, mostFills), file.Close())
}

// enter puts this thread into a mount namespace, for good: the caller has locked it and never lets it go.
func enter(namespace string) error {
	file, err := os.Open(namespace)
	if err != nil {
		return fmt.Errorf("enter a mount namespace: %w", err)
	}
	defer file.Close()

	// A thread that shares its working directory with others may not leave their namespace.
	if err := unix.Unshare(unix.CLONE_FS); err != nil {
		return fmt.Errorf("enter a mount namespace: %w", err)
	}

	if err := unix.Setns(int(file.Fd()), unix.CLONE_NEWNS); err != nil {
		return fmt.Errorf("enter a mount namespace: %w", err)
	}

	return nil
}

package harness

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
)

// Disk is a file system for the files of one server: an ext4 image on a loop device, mounted in a namespace that only that
// server and the holder of the namespace are in. It can be full, and it can lose what was not synced, as one does whose
// machine loses power. Where the process that made it is killed, the holder ends, and with it mount and device.
type Disk struct {
	image string // file on this machine's disk
	point string // where the namespace has it
	hold  *Process
}

// ErrNoDisk says that this machine lets nobody have a file system of his own: that takes Linux, root, loop devices and
// mkfs.ext4.
var ErrNoDisk = errors.New("no file system can be mounted here")

// ballastFile takes the room that Fill takes.
const ballastFile = "ballast"

// NewDisk makes one of this many bytes, in a directory of its name below dir. The caller must Close it.
func NewDisk(ctx context.Context, dir, name string, bytes int64) (*Disk, error) {
	d := &Disk{image: filepath.Join(dir, name+".image"), point: filepath.Join(dir, name)}

	if err := d.make(ctx, bytes); err != nil {
		return nil, err
	}

	var err error
	if d.hold, err = holdNamespace(d.image+".log", d.image, d.point); err != nil {
		return nil, err
	}

	wait, cancel := context.WithTimeout(ctx, natsStart)
	defer cancel()

	err = Await(wait, natsRetry, func(context.Context) (bool, error) {
		if !d.hold.running() {
			words, _ := os.ReadFile(d.image + ".log") // what it says is only to help

			return false, fmt.Errorf("%w: %s: %s", ErrNoDisk, d.hold.How(), words)
		}

		_, err := os.Stat(filepath.Join(d.Dir(), "lost+found"))

		return err == nil, nil
	})
	if err != nil {
		return nil, errors.Join(fmt.Errorf("mount %s: %w", d.image, err), d.Close())
	}

	return d, nil
}

func (d *Disk) make(ctx context.Context, bytes int64) error {
	if err := os.MkdirAll(d.point, 0o700); err != nil {
		return fmt.Errorf("make the directory of a disk: %w", err)
	}

	file, err := os.Create(d.image)
	if err != nil {
		return fmt.Errorf("make the image of a disk: %w", err)
	}

	if err := errors.Join(file.Truncate(bytes), file.Close()); err != nil {
		return fmt.Errorf("make the image of a disk: %w", err)
	}

	// Nothing is kept for root, who runs here; nothing is left to be done behind mount.
	return d.run(ctx, "mkfs.ext4", "-q", "-F", "-m", "0", "-E", "lazy_itable_init=0,lazy_journal_init=0", d.image)
}

// Inside is the directory as its server sees it.
func (d *Disk) Inside() string { return d.point }

// Dir is the same directory as everybody else sees it.
func (d *Disk) Dir() string {
	return filepath.Join("/proc", strconv.Itoa(d.hold.PID()), "root", d.point)
}

// namespace is the file that names the mount namespace.
func (d *Disk) namespace() string { return fmt.Sprintf("/proc/%d/ns/mnt", d.hold.PID()) }

// Free ends what Fill has begun.
func (d *Disk) Free() error {
	if err := os.Remove(filepath.Join(d.Dir(), ballastFile)); err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("free a disk: %w", err)
	}

	return nil
}

// Sync has the kernel write everything to the disk.
func (d *Disk) Sync(ctx context.Context) error {
	return d.within(ctx, "sync", "--file-system", d.point)
}

// mostCopies bounds the tries to copy an image while nothing is written to it: the kernel writes every few seconds.
const mostCopies = 100

// CutPower does what a loss of power does to the files, and to the server that writes them: it ends, and only what had
// reached the disk at that moment is there when it starts again, as the file system's journal makes it whole. The server is
// started again by the caller.
func (d *Disk) CutPower(ctx context.Context, server *Service) error {
	if err := server.Freeze(); err != nil {
		return err
	}

	kept := d.image + ".kept"

	// What stands in the image is what was written to the device; what the kernel still holds is lost.
	err := d.copyImage(ctx, kept)
	if err = errors.Join(err, server.Kill()); err != nil {
		return err
	}

	if err := d.within(ctx, "umount", d.point); err != nil {
		return err
	}

	if err := os.Rename(kept, d.image); err != nil {
		return fmt.Errorf("put the image of a disk back: %w", err)
	}

	return d.within(ctx, "mount", "-o", "loop", d.image, d.point)
}

func (d *Disk) copyImage(ctx context.Context, to string) error {
	for range mostCopies {
		before, err := os.Stat(d.image)
		if err != nil {
			return fmt.Errorf("copy the image of a disk: %w", err)
		}

		if err := d.run(ctx, "cp", "--sparse=always", d.image, to); err != nil {
			return err
		}

		after, err := os.Stat(d.image)
		if err != nil {
			return fmt.Errorf("copy the image of a disk: %w", err)
		}

		if after.ModTime().Equal(before.ModTime()) {
			return nil
		}
	}

	return fmt.Errorf("copy the image of a disk: it was written to each of %d times", mostCopies)
}

// Close takes the file system away. Nobody may use it.
func (d *Disk) Close() error {
	if err := errors.Join(d.hold.Kill(), os.Remove(d.image)); err != nil {
		return fmt.Errorf("take a disk away: %w", err)
	}

	return nil
}

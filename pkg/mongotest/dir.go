package mongotest

import (
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
)

const dirPrefix = "atlas-relay-mongo-"

// dir is where one server keeps its files. The open lock file tells others that its owner lives: a killed test leaves
// its directory behind, and the next one removes it.
type dir struct {
	path string
	lock *os.File
}

func newDir() (*dir, error) {
	sweep(os.TempDir())

	unlocked, err := os.MkdirTemp("", "unlocked-"+dirPrefix+"*")
	if err != nil {
		return nil, fmt.Errorf("make a directory for the server: %w", err)
	}

	d := &dir{path: unlocked}

	if err := d.fill(); err != nil {
		return nil, errors.Join(err, d.remove())
	}

	// A sweep sees the directory only now that it is locked.
	d.path = filepath.Join(filepath.Dir(unlocked), strings.TrimPrefix(filepath.Base(unlocked), "unlocked-"))
	if err := os.Rename(unlocked, d.path); err != nil {
		return nil, errors.Join(fmt.Errorf("name the server's directory: %w", err), os.RemoveAll(unlocked))
	}

	return d, nil
}

func (d *dir) data() string    { return filepath.Join(d.path, "data") }
func (d *dir) log() string     { return filepath.Join(d.path, "server.log") }
func (d *dir) config() string  { return filepath.Join(d.path, "empty.toml") }
func (d *dir) keyFile() string { return filepath.Join(d.path, "key") }

func lockPath(path string) string { return filepath.Join(path, "owner.lock") }

func (d *dir) fill() error {
	lock, err := os.OpenFile(lockPath(d.path), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return fmt.Errorf("lock the server's directory: %w", err)
	}

	d.lock = lock

	if err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		return fmt.Errorf("lock the server's directory: %w", err)
	}

	return errors.Join(
		os.Mkdir(d.data(), 0o700),
		os.WriteFile(d.config(), nil, 0o600),
		os.WriteFile(d.keyFile(), []byte(rand.Text()), 0o400), // for a mongod with users: members of a set share a key
	)
}

func (d *dir) remove() error {
	err := os.RemoveAll(d.path)
	if d.lock != nil {
		err = errors.Join(err, d.lock.Close())
		d.lock = nil
	}

	return err
}

// sweep removes the directories of owners that are gone. What cannot be removed is left for the next sweep.
func sweep(parent string) {
	found, _ := filepath.Glob(filepath.Join(parent, dirPrefix+"*"))

	for _, path := range found {
		lock, err := os.OpenFile(lockPath(path), os.O_RDWR, 0)
		if err != nil {
			continue // being made, being removed, or another user's
		}

		if syscall.Flock(int(lock.Fd()), syscall.LOCK_EX|syscall.LOCK_NB) == nil {
			_ = os.RemoveAll(path)
		}

		_ = lock.Close()
	}
}

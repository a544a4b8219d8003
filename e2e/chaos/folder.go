package chaos

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
)

// errInUse: two runs of one seed would take each other's files away, and neither would tell anything of the relay.
var errInUse = errors.New("another run of this seed is using it; wait for that one, or set TMPDIR to another directory")

// lockFolder makes a run's folder its own until release, which takes the lock's file away.
func lockFolder(folder string) (release func() error, err error) {
	if err := os.MkdirAll(filepath.Dir(folder), 0o700); err != nil {
		return nil, fmt.Errorf("make the run's folder: %w", err)
	}

	path := folder + ".lock"

	file, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("lock the run's folder: %w", err)
	}

	if err := syscall.Flock(int(file.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		return nil, fmt.Errorf("lock folder %s: %w", folder, errors.Join(errInUse, file.Close()))
	}

	return func() error { return errors.Join(os.Remove(path), file.Close()) }, nil
}

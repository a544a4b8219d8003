package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/gofrs/flock"
)

// statePath is the file that was named, else where XDG wants what should outlive a restart and is no configuration.
func (p *program) statePath(v *verification) (string, error) {
	if v.state != "" {
		return v.state, nil
	}

	home := p.environ["XDG_STATE_HOME"]
	if home == "" && p.environ["HOME"] != "" {
		home = filepath.Join(p.environ["HOME"], ".local", "state")
	}

	if home == "" {
		return "", &refusedError{what: "neither XDG_STATE_HOME nor HOME says where to keep the state", next: "name a file with --state"}
	}

	return filepath.Join(home, "atlas-relay", "verify-"+v.settings.Flow+".state"), nil
}

// lockState keeps other runs from the state's file until unlock, or the end of the process, however it comes. The lock is
// a file beside it, which stays: who removes it may lock one that another process has opened before.
func lockState(path string) (unlock func(), err error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return nil, fmt.Errorf("make the folder of the state: %w", err)
	}

	lock := flock.New(path+".lock", flock.SetPermissions(0o600))

	locked, err := lock.TryLock()
	if err != nil {
		return nil, fmt.Errorf("lock the state: %w", err)
	}

	if !locked {
		return nil, &refusedError{
			what: "another relayctl verify runs with the state " + path,
			next: "wait for its end, or give this one a file of its own with --state",
		}
	}

	return func() { _ = lock.Unlock() }, nil // closing the file cannot keep the lock
}

func forgetState(path string) error {
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("remove the state: %w", err)
	}

	return nil
}

//go:build failpoints

package failpoint

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"time"
)

// Built tells whether this build has failpoints.
const Built = true

// Pass is passed by a goroutine that cannot return an error here.
func Pass(p Point) { _ = current().pass(p) }

// Error is passed by a goroutine that returns the error, if there is one.
func Error(p Point) error { return current().pass(p) }

// current is what the environment of this process arms.
var current = sync.OnceValue(func() *registry {
	armed, err := Parse(os.Getenv(Variable))
	if err != nil {
		// Whoever misspells a point must not take a run without faults for a good one.
		fmt.Fprintln(os.Stderr, err)
		os.Exit(2)
	}

	return &registry{armed: armed, hits: os.Getenv(HitsVariable), passed: map[Point]uint64{}}
})

// registry counts passages.
type registry struct {
	armed []Armed
	hits  string // directory; empty: nobody is told

	mu     sync.Mutex
	passed map[Point]uint64
}

func (r *registry) pass(p Point) error {
	r.mu.Lock()
	r.passed[p]++
	passage := r.passed[p]
	r.mu.Unlock()

	if passage == 1 {
		r.leave(string(p))
	}

	for _, a := range r.armed {
		if a.Point == p && a.Passage == passage && r.leave(a.String()) {
			return a.strike()
		}
	}

	return nil
}

// leave makes a file; false says that it was there.
func (r *registry) leave(name string) bool {
	if r.hits == "" {
		return true
	}

	file, err := os.OpenFile(filepath.Join(r.hits, name), os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		if !errors.Is(err, fs.ErrExist) {
			fmt.Fprintln(os.Stderr, "failpoint:", err)
		}

		return false
	}

	_, err = fmt.Fprintf(file, "%s pid %d\n", time.Now().UTC().Format(time.RFC3339Nano), os.Getpid())

	return errors.Join(err, file.Close()) == nil
}

func (a *Armed) strike() error {
	switch a.Action {
	case Exit:
		_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
		select {} // the signal is delivered at the next return from the kernel, perhaps to another thread
	case Wait:
		time.Sleep(a.For)
	case Fail:
		return fmt.Errorf("%w: %s", ErrInjected, a)
	}

	return nil
}

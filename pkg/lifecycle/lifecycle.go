// Package lifecycle runs the named tasks of a process together and stops them together, within a bound.
//
// The first task that returns stops the others. Stopping has two phases: every task is told to take nothing new; what
// is in flight may finish until the grace period ends. Tasks marked Last (the ops server, heartbeats) keep running
// until all others have returned, so that a drain can be watched.
//
//	ctx ends, or a task returns            grace ends
//	        │                                   │
//	stop ───┘ take nothing new                  │
//	work ───────────── finish what is in flight ┘ then abort
//	last ──────────────────────┐ all others have returned
package lifecycle

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// Task is a part of the process that runs until it is told to stop. Exactly one of Run and Work is set.
type Task struct {
	Name string

	// Run works until ctx ends and then returns, nil or not. ctx ends with the first phase.
	Run func(ctx context.Context) error

	// Work is Run for tasks with something in flight: after stop has ended it takes nothing new, finishes within work
	// and returns. work ends with the grace period.
	Work func(stop, work context.Context) error

	// Last keeps the task running until every task that is not Last has returned.
	Last bool
}

// ErrGraceOver is the cause of the work context, and wrapped in Run's error, when the tasks did not return in time.
var ErrGraceOver = errors.New("shutdown grace period is over")

// errStopped is the cause of the stop context after a task returned.
var errStopped = errors.New("another task ended")

// Run runs the tasks until ctx ends or one of them returns, then stops the others and waits for them at most grace.
//
// It returns nil when ctx ended and every task stopped without an error of its own (the errors of a context that was
// cancelled are none). A task that returns before it was told to stop is a failure even when it returns nil. When
// tasks are still running after grace (and a short time to notice), Run returns ErrGraceOver with their names and
// leaves them behind: the process is expected to end.
func Run(ctx context.Context, grace time.Duration, tasks ...Task) error {
	return newGroup(grace, tasks).run(ctx)
}

// Unreachable marks an error as "a server cannot be reached", which ends a process with exit code 3.
func Unreachable(err error) error {
	if err == nil {
		return nil
	}

	return &unreachableError{err}
}

type unreachableError struct{ err error }

func (e *unreachableError) Error() string { return e.err.Error() }
func (e *unreachableError) Unwrap() error { return e.err }
func (*unreachableError) ExitCode() int   { return exitUnreachable }

const (
	exitFatal       = 1
	exitRefused     = 2 // named by the errors of other packages
	exitUnreachable = 3
)

// ExitCode is the exit code for the error that a process ends with: 0 for nil, the code that an error in the chain
// names by a method ExitCode() int (2 for refused settings, 3 for Unreachable), otherwise 1.
func ExitCode(err error) int {
	if err == nil {
		return 0
	}

	var coded interface{ ExitCode() int }
	if errors.As(err, &coded) {
		return coded.ExitCode()
	}

	return exitFatal
}

func (t Task) run(stop, work context.Context) error {
	if t.Work != nil {
		return t.Work(stop, work)
	}

	return t.Run(stop)
}

func describe(name string, err error) error {
	if err == nil {
		return fmt.Errorf("%s ended without being told to", name)
	}

	return fmt.Errorf("%s: %w", name, err)
}

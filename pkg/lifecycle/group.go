package lifecycle

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
)

// noticeTime is what tasks get to return after the grace period cut their work context.
const noticeTime = time.Second

// group is one Run. It is used by one goroutine; tasks speak to it through results only.
type group struct {
	tasks    []Task
	running  map[int]bool // by index in tasks
	results  chan result  // written by the tasks, one each; buffered, so that a task left behind does not block
	grace    time.Duration
	failures []error

	endStop, endWork, endLast context.CancelCauseFunc // of the three contexts that tasks are given
}

type result struct {
	task int
	err  error
}

func newGroup(grace time.Duration, tasks []Task) *group {
	return &group{tasks: tasks, running: map[int]bool{}, results: make(chan result, len(tasks)), grace: grace}
}

func (g *group) run(ctx context.Context) error {
	stop, endStop := context.WithCancelCause(ctx)
	defer endStop(errStopped)

	lasting := context.WithoutCancel(ctx) // values stay, the end of ctx is only the beginning of the stop

	work, endWork := context.WithCancelCause(lasting)
	defer endWork(errStopped)

	last, endLast := context.WithCancelCause(lasting)
	defer endLast(errStopped)

	g.endStop, g.endWork, g.endLast = endStop, endWork, endLast

	for i, task := range g.tasks {
		g.running[i] = true

		told := stop
		if task.Last {
			told = last
		}

		go func() { g.results <- result{task: i, err: task.run(told, work)} }()
	}

	g.untilFirstEnd(ctx)
	g.drain()

	return errors.Join(g.failures...)
}

// untilFirstEnd returns when ctx ends or a task does, and begins the stop.
func (g *group) untilFirstEnd(ctx context.Context) {
	if len(g.tasks) == 0 {
		return
	}

	select {
	case <-ctx.Done():
	case r := <-g.results:
		delete(g.running, r.task)

		if ctx.Err() == nil {
			g.failures = append(g.failures, describe(g.tasks[r.task].Name, r.err))
		} else {
			g.record(r)
		}
	}

	g.endStop(errStopped)
}

// drain waits for the others, first within the grace period, then for a moment after the work context was cut.
func (g *group) drain() {
	deadline := time.NewTimer(g.grace)
	defer deadline.Stop()

	cut := false

	for len(g.running) > 0 {
		if g.onlyLastRunning() {
			g.endLast(errStopped)
		}

		select {
		case r := <-g.results:
			delete(g.running, r.task)
			g.record(r)
		case <-deadline.C:
			if cut {
				g.failures = append(g.failures, fmt.Errorf("%w: still running: %s", ErrGraceOver, g.stillRunning()))

				return
			}

			cut = true

			g.endWork(ErrGraceOver)
			g.endLast(ErrGraceOver)
			deadline.Reset(noticeTime)
		}
	}
}

// record keeps the error of a task that was told to stop, unless it only says so.
func (g *group) record(r result) {
	if r.err == nil || errors.Is(r.err, context.Canceled) {
		return
	}

	g.failures = append(g.failures, describe(g.tasks[r.task].Name, r.err))
}

func (g *group) onlyLastRunning() bool {
	for i := range g.running {
		if !g.tasks[i].Last {
			return false
		}
	}

	return true
}

func (g *group) stillRunning() string {
	var names []string
	for i := range g.running {
		names = append(names, g.tasks[i].Name)
	}

	slices.Sort(names)

	return strings.Join(names, ", ")
}

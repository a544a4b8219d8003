package simulation

import (
	"errors"
	"fmt"
	"iter"
	"runtime/debug"
	"time"
)

// errKilled is what a task meets whose process is gone.
var errKilled = errors.New("the process is gone")

// process is one program: it can be killed, frozen, cut off, and its clock may be wrong.
type process struct {
	*world

	name   string
	dead   bool
	frozen time.Time     // until when it stands still
	cut    time.Time     // until when NATS is out of its reach
	offset time.Duration // of its clock
	tasks  []*task
	wire   wire
	stall  stall
}

// clock is the time as the process knows it.
func (p *process) clock() time.Time { return p.now.Add(p.offset) }

// task is one line of work of a process. It runs until it waits, and nothing else runs
// meanwhile: what waits is resumed by the agenda, by iter.Pull, without a scheduler that
// chooses.
type task struct {
	process *process
	resume  func() (time.Duration, bool)
	stop    func()
	yield   func(time.Duration) bool
	killed  bool
	ended   bool
}

// killed unwinds a task.
type killed struct{}

// start begins a task.
func (p *process) start(work func()) {
	t := &task{process: p}
	t.resume, t.stop = iter.Pull(func(yield func(time.Duration) bool) {
		t.yield = yield

		defer func() {
			t.ended = true

			if r := recover(); r != nil {
				if _, ok := r.(killed); !ok {
					panic(fmt.Sprintf("%v\n%s", r, debug.Stack()))
				}
			}
		}()

		work()
	})
	p.tasks = append(p.tasks, t)
	p.after(0, t.run)
}

// run resumes a task until it waits.
func (t *task) run() {
	p := t.process

	switch {
	case t.killed || t.ended:
		return
	case p.stall.still:
		p.stall.waiting = append(p.stall.waiting, t)

		return
	case p.now.Before(p.frozen):
		p.at(p.frozen, t.run)

		return
	}

	before := p.current
	p.current = t
	wait, more := t.resume()
	p.current = before

	if more {
		p.after(wait, t.run)
	}
}

// pause lets the task that runs wait.
func (w *world) pause(d time.Duration) {
	t := w.current
	if t.killed {
		panic(killed{})
	}

	if !t.yield(max(d, 0)) {
		t.killed = true

		panic(killed{})
	}
}

// kill ends a process between any two of its steps.
func (p *process) kill() {
	p.dead = true

	before := p.current
	for _, t := range p.tasks {
		if t.ended {
			continue
		}

		p.current = t
		t.killed = true
		t.stop()
	}

	p.current = before
}

// bound is a context that ends by the process's clock, and asks whether it has.
type bound struct {
	forever

	ended func() error
}

func (b bound) Err() error { return b.ended() }

// forever is the context of what nothing bounds: a process here knows no other time than
// the world's.
type forever struct{}

// Deadline implements context.Context.
func (forever) Deadline() (time.Time, bool) { return time.Time{}, false }

// Done implements context.Context.
func (forever) Done() <-chan struct{} { return nil }

// Err implements context.Context.
func (forever) Err() error { return nil }

// Value implements context.Context.
func (forever) Value(any) any { return nil }

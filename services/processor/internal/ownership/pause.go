package ownership

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/atlas-relay/atlas-relay/pkg/pause"
	"github.com/atlas-relay/atlas-relay/pkg/telemetry"
	"github.com/atlas-relay/atlas-relay/services/processor/internal/consume"
)

// pauseEvery is how often it is looked whether a person has paused the flow: what he says holds within two seconds, the
// transaction in flight included.
const pauseEvery = 500 * time.Millisecond

var (
	// errHeld says that the flow was paused before a transaction began: the same again when it goes on.
	errHeld = errors.New("the flow is paused")
	// errGivenBack says that it was paused while the target did not take something. Whether that was done is for the
	// next ownership to find out.
	errGivenBack = fmt.Errorf("%w: the flow was paused while the target was waited for", consume.ErrReset)
)

// pausing is whether a person has paused the flow, as the target said last. One goroutine writes, lanes read.
type pausing struct {
	mu   sync.Mutex
	now  *pause.Pause  // nil while the flow runs
	next chan struct{} // closed when that has changed
}

func newPausing() *pausing { return &pausing{next: make(chan struct{})} }

// set takes in what the target says, and tells whether that is new.
func (p *pausing) set(now *pause.Pause) (changed bool) {
	p.mu.Lock()
	defer p.mu.Unlock()

	if p.now.Is(now) {
		return false
	}

	p.now = now

	close(p.next)
	p.next = make(chan struct{})

	return true
}

// latest returns the pause, nil while the flow runs, and what is closed when that has changed.
func (p *pausing) latest() (*pause.Pause, <-chan struct{}) {
	p.mu.Lock()
	defer p.mu.Unlock()

	return p.now, p.next
}

// isHeld tells whether nothing is to be written now.
func (p *pausing) isHeld() bool {
	now, _ := p.latest()

	return now != nil
}

// followPause keeps pausing up to date until stop ends. While the target does not answer, what it said last holds.
func (o *Owner) followPause(stop context.Context) {
	ticker := time.NewTicker(pauseEvery)
	defer ticker.Stop()

	for {
		select {
		case <-ticker.C:
		case <-stop.Done():
			return
		}

		if err := o.lookForPause(stop); err != nil && stop.Err() == nil {
			o.log.DebugContext(stop, "cannot look whether the flow is paused", slog.Any(telemetry.KeyError, err))
		}
	}
}

func (o *Owner) lookForPause(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()

	d, err := pause.Load(ctx, o.target, o.options.Flow)
	if err != nil {
		return err
	}

	switch changed := o.pausing.set(d.Pause); {
	case !changed:
	case d.Pause != nil:
		o.log.WarnContext(ctx, "flow paused: nothing is written to the target", slog.String(telemetry.KeyReason, d.Pause.String()))
	default:
		o.log.InfoContext(ctx, "flow resumed")
	}

	return nil
}

// hold does nothing while the flow is paused. It returns errNoMore when running ends before.
func (l *lane) hold(running context.Context) error {
	if !l.pausing.isHeld() {
		return nil
	}

	for {
		now, changed := l.pausing.latest()
		l.applying() // or who has paused it

		if now == nil {
			return nil
		}

		select {
		case <-changed:
		case a := <-l.answers:
			l.unanswered(&a)
		case <-running.Done():
			return errNoMore
		}
	}
}

// unanswered lets an answer go that nothing may be done with now; the source is asked again later. It is taken all the
// same, because whoever asks holds memory that others may wait for.
func (l *lane) unanswered(a *answer) {
	l.parked.Unanswered(a.ask.Key, time.Now())
	a.done()
}

// applying shows that the partition is at work, unless its batch has no room.
func (l *lane) applying() {
	if l.noRoom != "" && !l.pausing.isHeld() {
		l.setState(Paused, l.noRoom)

		return
	}

	l.setState(Applying, "")
}

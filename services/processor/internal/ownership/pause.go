package ownership

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/atlas-relay/atlas-relay/pkg/event"
	"github.com/atlas-relay/atlas-relay/pkg/pause"
	"github.com/atlas-relay/atlas-relay/pkg/telemetry"
	"github.com/atlas-relay/atlas-relay/services/processor/internal/consume"
)

// pauseEvery is how often it is looked whether a person has paused the flow: what he says holds within two seconds, the
// transaction in flight included.
const pauseEvery = 500 * time.Millisecond

var (
	// errHeld says that something else is wanted since, and that a transaction has not begun: it is looked what that means
	// for it.
	errHeld = errors.New("the flow was paused or resumed")
	// errGivenBack says the same of one that the target did not take yet. Whether it was done is for the next ownership
	// to find out.
	errGivenBack = fmt.Errorf("%w: the flow was paused or resumed while the target was waited for", consume.ErrReset)
)

// pausing is what a person wants of the flow, as the target said last. One goroutine writes, lanes read.
type pausing struct {
	mu   sync.Mutex
	now  *pause.Document // never changed, only replaced
	next chan struct{}   // closed when it was
}

func newPausing() *pausing { return &pausing{now: new(pause.Document), next: make(chan struct{})} }

// set takes in what the target says, and tells whether that is new.
func (p *pausing) set(now *pause.Document) (changed bool) {
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

// latest returns what is wanted, and what is closed when that has changed.
func (p *pausing) latest() (*pause.Document, <-chan struct{}) {
	p.mu.Lock()
	defer p.mu.Unlock()

	return p.now, p.next
}

// isHeld tells whether nothing is to be written now.
func (p *pausing) isHeld() bool {
	now, _ := p.latest()

	return now.Pause != nil
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

	d, err := o.store.Pause(ctx, o.options.Flow)
	if err != nil {
		return err
	}

	before, _ := o.pausing.latest()
	if o.pausing.set(&d) {
		o.tellWanted(ctx, before, &d)
	}

	return nil
}

// tellWanted says in the log what has changed, once for all partitions.
func (o *Owner) tellWanted(ctx context.Context, before, now *pause.Document) {
	for i := range now.Namespaces {
		if n := &now.Namespaces[i]; !before.Names(n) {
			o.log.WarnContext(ctx, "namespace paused: its changes are set aside",
				slog.String(telemetry.KeyNamespace, n.Name()), slog.String(telemetry.KeyReason, n.Pause.String()))
		}
	}

	for i := range before.Namespaces {
		if n := &before.Namespaces[i]; !now.Names(n) {
			o.log.InfoContext(ctx, "namespace resumed", slog.String(telemetry.KeyNamespace, n.Name()))
		}
	}

	switch {
	case before.Pause.Is(now.Pause):
	case now.Pause != nil:
		o.log.WarnContext(ctx, "flow paused: nothing is written to the target", slog.String(telemetry.KeyReason, now.Pause.String()))
	default:
		o.log.InfoContext(ctx, "flow resumed")
	}
}

// follow has what is parked go by what is wanted.
func (p *partition) follow(wanted *pause.Document) {
	p.wanted = wanted

	if len(wanted.Namespaces) > 0 {
		p.parked.Hold(func(key event.Key) bool { return wanted.Covers(key.Namespace()) }, p.now())
	} else {
		p.parked.Hold(nil, p.now())
	}
}

// mustHold tells whether nothing is to be begun: the flow is paused, or something else is wanted than what the lane goes
// by.
func (l *lane) mustHold() bool {
	now, _ := l.pausing.latest()

	return now != l.wanted || now.Pause != nil
}

// hold takes in what is wanted, and does nothing while the flow is paused. It returns errNoMore when running ends before.
func (l *lane) hold(running context.Context) error {
	for {
		now, changed := l.pausing.latest()

		if now != l.wanted {
			l.follow(now)
			l.applying()
		}

		if now.Pause == nil {
			return nil
		}

		l.applying() // as it would, but for who has paused it

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
	l.parked.Unanswered(a.ask.Key, l.now())
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

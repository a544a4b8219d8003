package simulation

import (
	"context"
	"errors"
	"time"

	"github.com/nats-io/nats.go"
	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/atlas-relay/atlas-relay/e2e/simulation/natsmodel"
	"github.com/atlas-relay/atlas-relay/pkg/lease"
	"github.com/atlas-relay/atlas-relay/pkg/retry"
	"github.com/atlas-relay/atlas-relay/pkg/topology"
	"github.com/atlas-relay/atlas-relay/services/listener/stepwise"
)

// maxPayload makes large events come in parts.
const maxPayload = 6 << 10

const flow = "f"

// listener is a process of the listener.
type listener struct {
	process

	slot   int
	client *natsmodel.Client
	steps  *stepwise.Steps
	lease  holding
	lag    time.Duration // from when another one leads until this one goes on, see overtake
	failed bool          // for good
}

// holding is a key that a process holds by a lease.
type holding struct {
	revision uint64
	first    uint64
	end      time.Time // by the holder's clock
	renew    time.Time
	sent     time.Time
}

// holds tells whether the lease has not ended, as far as its holder knows.
func (h *holding) holds(now time.Time) bool { return h.revision > 0 && now.Before(h.end) }

// errLeaseOver says that a lease has ended.
var errLeaseOver = errors.New("the lease has ended")

func (w *world) startListener(slot int) *listener {
	w.serial++

	l := &listener{slot: slot}
	l.process = process{world: w, offset: w.wrong, name: "listener" + string(rune('0'+slot))}
	l.wire = wire{process: &l.process, session: w.weather.natsSession}
	l.client = natsmodel.NewClient(w.nats, &l.wire, maxPayload)
	l.start(func() { l.live(uint64(w.serial)) })

	return l
}

// live is the whole life of a listener.
func (l *listener) live(writer uint64) {
	var err error

	l.steps, err = stepwise.NewSteps(l.client, l.client.JetStream(), writer, stepwise.Options{
		Flow: flow, Exclude: []string{left.String()}, MarkerIdle: 3 * time.Second, Clock: retry.Clock{
			Now:  l.clock,
			Wait: func(_ context.Context, d time.Duration) bool { return l.hold(d) }, //nolint:contextcheck // a run has time, and contexts, of its own
		},
	})
	if err != nil {
		panic("simulation: " + err.Error())
	}

	for {
		switch {
		case !l.wire.connected() && !l.wire.connect():
			l.pause(100 * time.Millisecond)
		case !l.lead():
			l.pause(time.Second)
		default:
			err := l.session()
			l.tell(l.name, "session ended: %v", err)

			if l.steps.End(err) {
				l.failed = true
				l.tell(l.name, "%s for good", l.steps.Status().State)
				l.lease = holding{}
				l.pause(time.Hour)
			}

			l.pause(l.between(50*time.Millisecond, 100*time.Millisecond))
		}
	}
}

// hold waits while a rewind waits for reports, and keeps the lease.
func (l *listener) hold(d time.Duration) bool {
	l.pause(d)

	return l.keep() == nil
}

// lead makes this listener the active one, unless another one is.
func (l *listener) lead() bool {
	if l.lease.holds(l.clock()) {
		return true
	}

	sent := l.clock()

	revision, err := l.client.Put(forever{}, topology.OwnersBucket, topology.LeaderKey(flow), []byte(l.name), 0, leaseTTL)
	if err != nil {
		return false
	}

	l.lease = newHolding(revision, sent)
	l.steps.NewTerm()
	l.tell(l.name, "leads by lease %d", revision)
	l.leads()

	return true
}

func newHolding(revision uint64, sent time.Time) holding {
	return holding{
		revision: revision, first: revision, end: sent.Add(leaseTTL - lease.Margin(leaseTTL)), renew: sent.Add(leaseTTL / 3), sent: sent,
	}
}

// keep renews the lease when it is time to.
func (l *listener) keep() error {
	switch now := l.clock(); {
	case !l.lease.holds(now):
		l.lease = holding{}

		return errLeaseOver
	case now.Before(l.lease.renew):
		return nil
	default:
		return l.lease.extend(l.client, topology.LeaderKey(flow), []byte(l.name), now)
	}
}

// extend renews a lease. One that is not answered is tried again until it ends. An answer that comes when the lease has
// been let go gives nothing back: the key then expires.
func (h *holding) extend(client *natsmodel.Client, key string, value []byte, now time.Time) error {
	h.renew = now.Add(leaseTTL / 6)
	held := h.revision

	revision, err := client.Put(forever{}, topology.OwnersBucket, key, value, held, leaseTTL)
	if err == nil && h.revision == held {
		first := h.first
		*h = newHolding(revision, now)
		h.first = first
	}

	return nil
}

// session is one pass from a tail to the next trouble.
func (l *listener) session() error {
	ctx := bound{ended: func() error {
		if !l.lease.holds(l.clock()) {
			return errLeaseOver
		}

		return nil
	}}

	token, err := l.steps.Read(ctx)
	if err != nil {
		return err
	}

	l.pause(l.delay())

	if err := l.source.open(token); err != nil {
		return l.steps.Refused(err)
	}

	if err := l.steps.Begin(ctx); err != nil {
		return err
	}

	tick, scrub := l.clock(), l.clock().Add(5*time.Second)

	for {
		if err := l.round(ctx, &token); err != nil {
			return err
		}

		if now := l.clock(); !now.Before(tick) {
			tick = now.Add(100 * time.Millisecond)

			if err := l.steps.Tick(ctx); err != nil {
				return err
			}
		}

		if now := l.clock(); !now.Before(scrub) {
			scrub = now.Add(time.Second)

			if err := l.steps.Scrub(ctx); err != nil {
				return err
			}
		}
	}
}

// round takes in what has come since the last one: answers of NATS, changes of the
// source.
func (l *listener) round(ctx context.Context, token *bson.Raw) error {
	if !l.wire.connected() {
		return nats.ErrDisconnected
	}

	if err := l.keep(); err != nil { //nolint:contextcheck // a run has time, and contexts, of its own
		return err
	}

	for {
		more, err := l.steps.Reply()
		if err != nil {
			return err
		}

		if !more {
			break
		}
	}

	for n := l.takes(); n > 0 && !l.steps.Full(); n-- {
		c, after, err := l.source.next(*token)
		if err != nil {
			return l.steps.Refused(err)
		}

		if after == nil {
			break
		}

		change := stepwise.Change{Token: after, Dry: n == 1}
		if c != nil {
			change.Event = &c.event
			l.tell(l.name, "takes change %d", c.number)
		}

		if _, more, _ := l.source.next(after); more == nil {
			change.Dry = true
		}

		if err := l.steps.Take(ctx, &change); err != nil {
			return err
		}

		*token = after
	}

	l.pause(l.between(time.Millisecond, 60*time.Millisecond))

	return nil
}

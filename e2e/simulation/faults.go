package simulation

import (
	"fmt"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/atlas-relay/atlas-relay/e2e/simulation/mongomodel"
	"github.com/atlas-relay/atlas-relay/pkg/event"
	"github.com/atlas-relay/atlas-relay/pkg/topology"
	relayv1 "github.com/atlas-relay/atlas-relay/proto/relay/v1"
)

// schedule puts the faults of the plan on the agenda.
func (w *world) schedule() {
	for _, f := range w.plan.Faults {
		at := epoch.Add(f.At)

		if f.Kind == TargetBack { // to a backup of some time before
			var backup mongomodel.Snapshot

			w.at(later(epoch, at.Add(-f.For)), func() { backup = w.target.Snapshot() })
			w.at(at, func() { w.strike(f, backup) })

			continue
		}

		w.at(at, func() { w.strike(f, nil) })
	}
}

// strike is the moment of a fault.
func (w *world) strike(f Fault, backup mongomodel.Snapshot) {
	w.tell("fault", "%s", f)

	if w.hit(f, backup) {
		w.judge.struck[f.Kind.String()]++
		w.judge.changed.during(f.Kind.String(), w.now.Add(f.For))
	}
}

// hit does what the fault says, and tells whether that met anything.
func (w *world) hit(f Fault, backup mongomodel.Snapshot) bool {
	end := w.now.Add(f.For)

	switch f.Kind {
	case KillListener, FreezeListener, CutListener:
		return w.hitListener(f, end)
	case StallListener, HoldListener:
		return w.overtake(f)
	case KillProcessor, FreezeProcessor, CutProcessor, ProcessorJoins, ProcessorLeaves:
		return w.hitProcessor(f, end)
	case ClockWrong:
		return w.hitClock(f)
	case NATSRestarts, NATSLosesAnswers, BlockLost, StreamFull, StreamReplaced:
		return w.hitNATS(f, end)
	case TargetAway, TargetShaky, TargetSteps, TargetBack:
		return w.hitTarget(f, end, backup)
	case SourceAway:
		w.weather.sourceDown = later(w.weather.sourceDown, end)
	case HistoryLost:
		w.source.oldest = max(w.source.oldest, len(w.source.changes)-2)
		w.judge.forgotten = true
	default:
		return false
	}

	return true
}

func (w *world) hitListener(f Fault, end time.Time) bool {
	slot := f.A % len(w.listeners)

	l := w.listeners[slot]
	if l == nil || l.failed {
		return false
	}

	switch f.Kind {
	case KillListener:
		l.kill()
		w.listeners[slot] = nil
		w.at(end, func() { w.revive(slot) })
	case FreezeListener:
		l.frozen = end
	default:
		l.cut = end
	}

	return true
}

func (w *world) revive(slot int) {
	if w.listeners[slot] == nil {
		w.listeners[slot] = w.startListener(slot)
	}
}

func (w *world) reviveProcessor(slot int) {
	if w.processors[slot] == nil {
		w.processors[slot] = w.startProcessor(slot)
	}
}

func (w *world) hitProcessor(f Fault, end time.Time) bool {
	if f.Kind == ProcessorJoins {
		if len(w.processors) >= 5 {
			return false
		}

		w.processors = append(w.processors, w.startProcessor(len(w.processors)))

		return true
	}

	slot := f.A % len(w.processors)

	p := w.processors[slot]
	if p == nil || p.left {
		return false
	}

	switch f.Kind {
	case KillProcessor:
		p.kill()
		w.processors[slot] = nil
		w.at(end, func() { w.reviveProcessor(slot) })
	case ProcessorLeaves:
		if p.leaving || len(p.lanes) == 0 || slot == 0 {
			return false // one stays
		}

		p.leave()
	case FreezeProcessor:
		p.frozen = end
	default:
		p.cut = end
	}

	return true
}

// hitClock starts a process again on a host whose clock is wrong by up to an hour. It is
// wrong from the start: what a process measures, it measures by a clock that does not jump
// (package time, "Monotonic Clocks").
func (w *world) hitClock(f Fault) bool {
	w.wrong = time.Duration(f.B-6) * 10 * time.Minute
	defer func() { w.wrong = 0 }()

	if f.A%2 == 0 {
		f.Kind = KillListener
		if !w.hitListener(f, w.now) {
			return false
		}

		w.revive(f.A % len(w.listeners))
	} else {
		f.Kind = KillProcessor
		if !w.hitProcessor(f, w.now) {
			return false
		}

		w.reviveProcessor(f.A % len(w.processors))
	}

	return true
}

func (w *world) hitNATS(f Fault, end time.Time) bool {
	switch f.Kind {
	case NATSRestarts:
		w.weather.natsSession++
		w.weather.natsDown = later(w.weather.natsDown, w.now.Add(f.For/4))
		before := len(w.stream.Messages())
		w.nats.Restart(f.B / 2)
		w.judge.struck["message lost at the tail"] += before - len(w.stream.Messages())
	case NATSLosesAnswers:
		w.weather.lossy = later(w.weather.lossy, end)
	case BlockLost:
		messages := w.stream.Messages()
		first := messages[min(len(messages)-1, (f.A+1)*len(messages)/6)].Sequence

		if w.stream.Damage(max(first, 2), first+uint64(f.B%4)) == 0 {
			return false
		}

		w.judge.damaged = w.judge.decoded(w.stream.Messages()[len(w.stream.Messages())-1].Msg).Generation + 1
	case StreamFull:
		w.stream.SetMaxBytes(max(w.stream.Bytes(), 1))
		w.weather.full = later(w.weather.full, end)
		w.at(end, func() {
			if !w.now.Before(w.weather.full) {
				w.stream.SetMaxBytes(0)
			}
		})
	default:
		w.serial++
		w.makeStream(fmt.Sprintf("made-anew-%d", w.serial)) // nothing has an id twice
		w.judge.replaced, w.judge.begins = true, len(w.source.changes)
	}

	return true
}

func (w *world) hitTarget(f Fault, end time.Time, backup mongomodel.Snapshot) bool {
	switch f.Kind {
	case TargetAway:
		w.weather.targetDown = later(w.weather.targetDown, end)
	case TargetShaky:
		w.weather.shaky = later(w.weather.shaky, end)
	case TargetSteps:
		w.target.Interrupt()
	default:
		w.target.Restore(backup)
		w.judge.restored()
	}

	return true
}

// makeStream is what relayctl flow init does.
func (w *world) makeStream(id string) {
	settings := topology.Settings{StreamID: id, Partitions: w.plan.Partitions, Source: "source", Publish: topology.PublishChain}
	if w.plan.Batch == 1 {
		settings.Publish = topology.PublishBatch
	}

	w.stream = w.nats.CreateStream(topology.StreamConfig(flow, settings, 0))

	payload, err := proto.Marshal(&relayv1.Marker{Heads: make([]uint64, w.plan.Partitions)})
	if err != nil {
		panic("simulation: " + err.Error())
	}

	w.stream.Publish(w.now, event.Encode(flow, &event.Message{
		Kind: event.KindMarker, StreamID: id, Writer: 1, ResumeToken: tokenOf(len(w.source.changes) * tokenStep), Part: 1, Parts: 1, Attempt: 1, Payload: payload,
	}, ""))
}

// clear ends all trouble: what is gone comes back, and stays.
func (w *world) clear() {
	session := w.weather.natsSession
	w.weather = weather{natsSession: session}
	w.stream.SetMaxBytes(0)

	for slot, l := range w.listeners {
		w.revive(slot)

		if l != nil {
			l.frozen, l.cut = time.Time{}, time.Time{}
			l.goOn()
		}
	}

	for slot, p := range w.processors {
		w.reviveProcessor(slot)

		if p != nil {
			p.frozen, p.cut = time.Time{}, time.Time{}
		}
	}
}

// makeBuckets makes the buckets, whose changes all processors are told.
func (w *world) makeBuckets() {
	w.nats.CreateBucket(topology.StatsBucket)
	w.owners = w.nats.CreateBucket(topology.OwnersBucket)
	w.owners.OnChange(func(key string, value []byte) {
		for _, p := range w.processors {
			if p != nil && !p.dead {
				p.told(key, value)
			}
		}
	})
	w.expire()
}

// expire lets the keys go whose time is over.
func (w *world) expire() {
	w.owners.Expire(w.now)
	w.after(100*time.Millisecond, w.expire)
}

package simulation

import (
	"context"
	"fmt"
	"slices"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/atlas-relay/atlas-relay/e2e/simulation/mongomodel"
	"github.com/atlas-relay/atlas-relay/e2e/simulation/natsmodel"
	"github.com/atlas-relay/atlas-relay/pkg/event"
	"github.com/atlas-relay/atlas-relay/pkg/retry"
	"github.com/atlas-relay/atlas-relay/pkg/topology"
	relayv1 "github.com/atlas-relay/atlas-relay/proto/relay/v1"
	"github.com/atlas-relay/atlas-relay/services/processor/stepwise"
)

// processor is a process of the processor.
type processor struct {
	process

	slot    int
	id      string
	client  *natsmodel.Client
	target  *mongomodel.Client
	member  *stepwise.Member
	own     holding // of its announcement
	lanes   []*lane
	news    []func() // of the bucket, on their way
	sighted bool
	leaving bool
	left    bool
	marked  *natsmodel.Stored // the last marker that was taken in
}

func (w *world) startProcessor(slot int) *processor {
	w.serial++

	p := &processor{slot: slot, id: fmt.Sprintf("p%d", w.serial)}
	p.process = process{world: w, offset: w.wrong, name: "processor" + string(rune('0'+slot))}
	p.wire = wire{process: &p.process, session: w.weather.natsSession}
	p.client = natsmodel.NewClient(w.nats, &p.wire, maxPayload)
	p.target = mongomodel.NewClient(w.target, link{&p.process})
	p.member = stepwise.NewMember(p.client.JetStream(), p.target, stepwise.Options{
		Flow: flow, Identity: stepwise.Identity{ID: p.id}, LeaseTTL: leaseTTL, Concurrency: 8, MemoryBudget: 64 << 20,
		Limits: stepwise.Limits{Size: 1 + w.random.IntN(8), Bytes: 1 << 20, Idle: time.Second, MaxAge: 2 * time.Second, Eager: w.chance(0.7)},
		Park: stepwise.Policy{
			Retries: 2, Delays: []time.Duration{time.Second, 3 * time.Second}, Together: 1 + w.random.IntN(5),
			MaxEvents: 1 + w.random.IntN(6), MaxBytes: 1 << 20, MaxTotal: 1 << 30,
		},
		Refetch: reader{&p.process},
		Clock: retry.Clock{
			Now:  p.clock,
			Wait: func(ctx context.Context, d time.Duration) bool { p.pause(p.between(d/2, d)); return ctx.Err() == nil },
		},
	})
	p.start(p.live)

	return p
}

// live is the whole life of a processor, beside that of its partitions.
func (p *processor) live() {
	for p.member.Open(forever{}) != nil {
		p.pause(500 * time.Millisecond)

		if !p.wire.connected() {
			p.wire.connect()
		}
	}

	for number := range p.plan.Partitions {
		p.lanes = append(p.lanes, &lane{processor: p, number: number, steps: p.member.Partition(number, p.random.Int64())})
	}

	var report, look time.Time

	for !p.left {
		p.reconnect()
		p.hear()

		now := p.clock()
		if p.sighted && !now.Before(p.own.renew) {
			p.renewAll(now)
		}

		if !now.Before(report) {
			report = now.Add(time.Second)

			p.report()
		}

		if !now.Before(look) {
			look = now.Add(200 * time.Millisecond)

			p.readMarkers()
		}

		if p.leaving {
			p.member.Stop()
		}

		p.decide()

		if p.leaving && p.member.Done() {
			p.left = true
		}

		p.pause(p.between(20*time.Millisecond, 100*time.Millisecond))
	}

	p.tell(p.name, "has left")
}

// reconnect begins a new connection where the old one is gone, and sees everything anew.
func (p *processor) reconnect() {
	if p.wire.connected() && p.sighted {
		return
	}

	if !p.wire.connected() {
		p.member.Blind()
		p.sighted, p.news = false, nil

		if !p.wire.connect() {
			return
		}

		p.tell(p.name, "connected")
	}

	p.sight()
}

// sight announces the processor, and reads the bucket. What changes meanwhile comes
// behind it.
func (p *processor) sight() {
	if !p.leaving && !p.announce() {
		return
	}

	members, holders := map[string]time.Duration{}, map[int]string{}
	err := p.client.All(forever{}, topology.OwnersBucket, func(key string, value []byte) {
		if id, ok := topology.ParseMemberKey(flow, key); ok {
			members[id] = leaseTTL
		} else if n, ok := topology.ParsePartitionKey(flow, key); ok {
			holders[n] = string(value)
		}
	})

	if err == nil && p.wire.connected() {
		p.member.Sight(members, holders)
		p.sighted = true
	}
}

// announce makes the processor's key, or keeps the one that it has.
func (p *processor) announce() bool {
	sent := p.clock()

	revision, err := p.client.Put(forever{}, topology.OwnersBucket, topology.MemberKey(flow, p.id), []byte(p.id), p.own.revision, leaseTTL)
	if err == nil {
		p.own = newHolding(revision, sent)
	} else if !p.own.holds(sent) {
		p.own.revision = 0
	}

	return err == nil
}

// told takes in news of the bucket, on their way to this process.
func (p *processor) told(key string, value []byte) {
	if !p.wire.connected() || !p.sighted {
		return
	}

	p.news = append(p.news, func() {
		if id, ok := topology.ParseMemberKey(flow, key); ok && value != nil {
			p.member.Join(id, leaseTTL)
		} else if ok {
			p.member.Leave(id)
		} else if n, ok := topology.ParsePartitionKey(flow, key); ok {
			p.member.Hold(n, string(value))
		}
	})
}

func (p *processor) hear() {
	news := p.news
	p.news = nil

	for _, change := range news {
		change()
	}
}

// renewAll renews everything that is still held.
func (p *processor) renewAll(now time.Time) {
	if !p.leaving {
		p.announce()
	}

	for _, l := range p.lanes {
		if l.lease.holds(p.clock()) {
			_ = l.lease.extend(p.client, topology.PartitionKey(flow, l.number), []byte(p.id), p.clock())
		}
	}

	p.own.renew = now.Add(leaseTTL / 3)
}

func (p *processor) decide() {
	for _, a := range p.member.Decide() {
		l := p.lanes[a.Partition]
		l.drain = a.Drain

		if !a.Drain {
			p.start(l.work)
		}
	}
}

// report tells the others where the partitions are.
func (p *processor) report() {
	r := &relayv1.ProcessorReport{Flow: flow}

	for _, l := range p.lanes {
		if status := l.steps.Status(); l.held {
			r.Partitions = append(r.Partitions, status.Report())
		}
	}

	text, err := proto.MarshalOptions{Deterministic: true}.Marshal(r)
	if err == nil {
		_ = p.client.Set(forever{}, topology.StatsBucket, topology.ProcessorReportKey(flow, p.id), text)
	}
}

// readMarkers takes in the markers of the stream that have come.
func (p *processor) readMarkers() {
	if !p.wire.connected() {
		return
	}

	var found *natsmodel.Stored

	for _, m := range slices.Backward(p.stream.Messages()) {
		if m.Msg.Subject == event.MarkerSubject(flow) {
			found = m

			break
		}
	}

	if found != nil && found != p.marked {
		p.marked = found
		_ = p.member.Marked(natsmodel.DeliveryOf(found)) // one of another stream tells nothing
	}
}

// leave has the processor stop cleanly: its announcement goes first.
func (p *processor) leave() {
	p.leaving = true
	p.start(func() {
		_ = p.client.Delete(forever{}, topology.OwnersBucket, topology.MemberKey(flow, p.id), p.own.revision) // it expires otherwise
	})
}

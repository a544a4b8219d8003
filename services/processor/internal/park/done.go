package park

import (
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/atlas-relay/atlas-relay/pkg/event"
	"github.com/atlas-relay/atlas-relay/pkg/parked"
)

// Done takes in that the lot is committed, with these effects. A lot whose effects are Nothing is done without a
// transaction.
func (l *Lot) Done(fx *Effects, now time.Time) {
	p := l.p

	for i := range fx.Inserts {
		in := &fx.Inserts[i]
		e := in.Entry
		p.document(l.Items[in.Item].Key).insert(&e)
	}

	l.forget(fx)
	l.departed(now)

	touched := map[event.Key]bool{}

	for i := range l.Items {
		item := &l.Items[i]

		d := p.documents[item.Key]
		if d == nil {
			continue
		}

		d.took(l, item)
		touched[item.Key] = true
	}

	p.waiting, p.dead, p.bytes = fx.Parked, fx.Dead, fx.Bytes

	for i := range l.Items { // in the order of the lot: equal inputs give equal runs
		if key := l.Items[i].Key; touched[key] {
			delete(touched, key)

			p.settleDown(p.documents[key], now)
		}
	}
}

// settleDown puts a document where it belongs after a lot. Events that came behind those that wait move nothing, or a
// busy document would never be tried again.
func (p *Partition) settleDown(d *document, now time.Time) {
	at := d.after(&p.policy, now)
	if d.index >= 0 && at.After(d.at) {
		at = d.at
	}

	p.wake(d, at)
}

// forget takes ended records out of memory, and changes those that stay.
func (l *Lot) forget(fx *Effects) {
	keys := map[*Entry]event.Key{}
	for i := range l.Items {
		if e := l.Items[i].Entry; e != nil {
			keys[e] = l.Items[i].Key
		}
	}

	for _, e := range fx.Deletes {
		l.p.documents[keys[e]].remove(e)
	}

	for i := range fx.Updates {
		u := &fx.Updates[i]
		rev := u.Before.Rev + 1

		if u.After.State == parked.Waiting || u.After.State == parked.Dead {
			*u.Before = u.After
			u.Before.Rev = rev

			continue
		}

		u.Before.State = u.After.State
	}

	for i := range l.Items {
		if d := l.p.documents[l.Items[i].Key]; d != nil {
			d.dropEnded()
		}
	}

	for _, key := range fx.Forget {
		delete(l.p.covered, key)
	}

	if len(fx.Forget) > 0 {
		l.p.oldest = bson.Timestamp{}
		for key, t := range l.p.covered {
			l.p.cover(key, t)
		}
	}

	if fx.Cover != nil {
		l.p.cover(fx.Cover.Key, fx.Cover.Time)
	}
}

package ownership

import (
	"context"
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/atlas-relay/atlas-relay/pkg/checkpoint"
	"github.com/atlas-relay/atlas-relay/pkg/event"
	"github.com/atlas-relay/atlas-relay/pkg/failpoint"
	"github.com/atlas-relay/atlas-relay/pkg/mongodb"
	"github.com/atlas-relay/atlas-relay/pkg/parked"
	"github.com/atlas-relay/atlas-relay/services/processor/internal/apply"
	"github.com/atlas-relay/atlas-relay/services/processor/internal/park"
)

// Bounds of what parked documents cost.
const (
	asking       = 32 // documents of a partition that wait for the source to be asked
	imagesAtOnce = 4  // documents of the source in memory, each up to 16 MiB, in all partitions
	// While batches come, few documents are tried at a time, and when they were refused nothing is for restShare times
	// as long as that took, up to restMost: dead weight must not slow down healthy documents, and who has removed the cause
	// wants to see it.
	triesWhenBusy = 4
	restShare     = 49
	restMost      = time.Minute
	// letters is how many dead letters are looked at each time for what operators did.
	letters = 500
	// loadTimeout is for as many records as PARK_MAX_BYTES lets there be.
	loadTimeout = time.Minute
	// noMemory is the wait after a try that the budget had no room for.
	noMemory = 50 * time.Millisecond
)

// loadParked reads what the partition has set aside. The owner before cannot commit any more, so the sums agree with
// the checkpoint, or somebody else changed the records: then it returns parked.ErrRecords.
func (p *partition) loadParked(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, loadTimeout)
	defer cancel()

	if err := p.store.Recover(ctx, &p.held); err != nil {
		return err
	}

	p.parked = park.New(p.options.Park)
	wanted, _ := p.pausing.latest()
	p.follow(wanted)

	now := p.now()

	err := p.store.Headers(ctx, p.held.Flow, p.number, func(r *parked.Record) error { return p.parked.Load(r, now) },
		parked.Waiting, parked.Dead)
	if err != nil {
		return err
	}

	covered, err := p.store.Covered(ctx, p.held.Flow, p.number)
	if err != nil {
		return err
	}

	for i := range covered {
		p.parked.LoadCovered(event.Key(covered[i].Key.Data), covered[i].Time)
	}

	if p.parked.Waiting() != p.held.Parked {
		if err := p.stillHeld(ctx); err != nil {
			return err
		}

		return fmt.Errorf("%w: %d events wait in atlas_relay.%s, checkpoint %s counts %d",
			parked.ErrRecords, p.parked.Waiting(), parked.Collection, p.held.ID, p.held.Parked)
	}

	p.board.update(func(s *Status) { s.Dead = p.parked.Dead() })

	return failpoint.Error(failpoint.ParkedLoaded)
}

// stillHeld tells whether the target's checkpoint is the one that this owner committed: where it is not, the records
// are not to be judged by it. Errors: apply.ErrStale, apply.ErrWentBack, apply.ErrForeignCheckpoint, trouble of the target.
func (p *partition) stillHeld(ctx context.Context) error {
	now, present, err := p.store.Checkpoint(ctx, p.held.Flow, p.number)
	if err != nil {
		return err
	}

	return apply.Holds(now, present, &p.held)
}

// isBusy tells whether batches come.
func (l *lane) isBusy(now time.Time) bool { return now.Sub(l.last) < lookEvery }

// due is when something parked is to be tried; nothing waits for that unless ok. What was refused rests only as long as
// batches come: a lane without has nothing else to do.
func (l *lane) due() (at time.Time, ok bool) {
	at, ok = l.parked.Due()

	rest := l.rest
	if idle := l.last.Add(lookEvery); idle.Before(rest) {
		rest = idle
	}

	if at.Before(rest) {
		at = rest
	}

	return at, ok
}

// tryParked tries what is due.
func (l *lane) tryParked(stop, work context.Context, now time.Time) error {
	if !l.passage.MayTry(l.held.Position) {
		return nil
	}

	busy := l.isBusy(now)
	most := asking

	if busy {
		most = triesWhenBusy
	}

	lot, asks := l.parked.Next(now, most)

	for _, a := range asks {
		select {
		case l.asks <- a:
		default:
			l.parked.Unanswered(a.Key, now)
		}
	}

	if lot == nil {
		return nil
	}

	bytes := int64(0)

	for i := range lot.Items {
		if lot.Items[i].Fate == park.Apply {
			bytes += lot.Items[i].Size
		}
	}

	reservation, ok := l.memoryOfTry(int(bytes))
	if !ok {
		lot.Postpone(now.Add(noMemory))

		return nil
	}
	defer reservation.Release()

	err := l.settleParked(stop, work, lot)
	if busy && lot.Refused() {
		l.rest = l.now().Add(min(max(lookEvery, restShare*l.now().Sub(now)), restMost))
	}

	return err
}

// settleParked reads the events of a lot and settles it.
func (l *lane) settleParked(stop, work context.Context, lot *park.Lot) error {
	u := &unit{lot: lot, changes: make([]apply.Change, len(lot.Items))}

	err := l.readEvents(work, u)
	if err == nil {
		err = failpoint.Error(failpoint.ParkedRetried)
	}

	if err == nil && lot.Items[0].Key.IsChange() {
		err, u.made = l.repeat(stop, work, u), true
	}

	if err == nil {
		err = l.settle(stop, work, u)
	}

	if errors.Is(err, errReload) {
		return l.loadParked(work)
	}

	return err
}

// readEvents fills in the events that the lot applies.
//
//nolint:gosec // the stream's numbers stay far below 2^63
func (l *lane) readEvents(ctx context.Context, u *unit) error {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()

	var ids []string

	for i := range u.lot.Items {
		if u.lot.Items[i].Fate == park.Apply {
			ids = append(ids, u.lot.Items[i].ID)
		}
	}

	if len(ids) == 0 {
		return nil
	}

	events, err := l.store.Events(ctx, ids)
	if errors.Is(err, parked.ErrRecords) {
		return l.reload(err)
	}

	if err != nil {
		return err
	}

	for i := range u.lot.Items {
		item := &u.lot.Items[i]
		if item.Fate != park.Apply {
			continue
		}

		e, err := event.Parse(events[item.ID])
		if err != nil {
			return fmt.Errorf("%w: record %s: %w", parked.ErrRecords, item.ID, err)
		}

		e.Namespace = item.Key.Namespace() // which it has followed, if its collection was renamed
		u.changes[i] = apply.Change{Event: e, Number: uint64(item.Number), Position: item.Position}
	}

	return nil
}

// reload asks for the records to be read again, unless that was in vain before.
func (l *lane) reload(err error) error {
	if l.reloads++; l.reloads > maxReloads {
		return err
	}

	failpoint.Pass(failpoint.RecordsReloaded)

	return fmt.Errorf("%w: %w", errReload, err)
}

// look takes in what operators did, and how far the rest of the flow is. Trouble of the target is left to those who
// cannot do without it.
func (l *lane) look(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()

	var err error

	if l.parked.Dead() > 0 {
		err = l.lookAtLetters(ctx)
	}

	if err == nil && (l.parked.WantsView() || l.noRoom != "") { // others may have made room
		err = l.lookAround(ctx)
	}

	if mongodb.IsTransient(err) {
		return nil
	}

	return err
}

// lookAtLetters takes up dead letters that an operator wants replayed or has discarded.
func (l *lane) lookAtLetters(ctx context.Context) error {
	changed, err := l.store.Replays(ctx, l.held.Flow, l.number)
	if err != nil {
		return err
	}

	if len(l.letters) == 0 {
		l.letters = l.parked.DeadIDs()
	}

	ids := l.letters[:min(len(l.letters), letters)]
	l.letters = l.letters[len(ids):]

	ended, err := l.store.Records(ctx, ids)
	if err != nil {
		return err
	}

	now := l.now()
	l.old = expired(ended, now)

	for i := range changed {
		l.parked.Changed(&changed[i], now)
	}

	for i := range ended {
		if ended[i].State == parked.Discarded {
			l.parked.Changed(&ended[i], now)
		}
	}

	l.board.update(func(s *Status) { s.Dead = l.parked.Dead() })

	return nil
}

// lookAround reads how far the other partitions are, and what waits in the flow.
func (l *lane) lookAround(ctx context.Context) error {
	all, err := l.store.Checkpoints(ctx, l.held.Flow)
	if err != nil {
		return err
	}

	v := viewOf(all, l.stream.Partitions, l.number)

	if v.Known = l.parked.Judges(); v.Known {
		if v.Earliest, err = l.store.Earliest(ctx, l.held.Flow, park.EarliestLimit); err != nil {
			return err
		}

		v.Quiet = l.markers.quiet(settledUpTo(all, l.stream.Partitions, l.number))
	}

	l.parked.Observe(v)

	return nil
}

// settledUpTo is the lowest sequence that the other partitions' checkpoints have; 0 where one is missing.
func settledUpTo(all map[int]checkpoint.Document, partitions, own int) int64 {
	lowest := int64(math.MaxInt64)

	for number := range partitions {
		if number != own {
			lowest = min(lowest, all[number].Sequence)
		}
	}

	return lowest
}

// viewOf is the rest of the flow as one partition sees it. A partition without a checkpoint has applied nothing.
func viewOf(all map[int]checkpoint.Document, partitions, own int) park.View {
	v := park.View{Beyond: event.Position{T: ^uint32(0), I: ^uint32(0), Ordinal: ^uint32(0)}}

	for number := range partitions {
		if number == own {
			continue
		}

		other := all[number]
		v.Bytes += other.ParkedBytes

		if other.Position.Compare(v.Beyond) < 0 {
			v.Beyond = other.Position
		}
	}

	return v
}

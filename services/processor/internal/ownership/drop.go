package ownership

import (
	"context"
	"time"

	"github.com/atlas-relay/atlas-relay/pkg/event"
	"github.com/atlas-relay/atlas-relay/pkg/mongodb"
	"github.com/atlas-relay/atlas-relay/pkg/parked"
)

// keepLetters is how long the event of a dead letter is kept, and that of one that ended. The record, and the mark of a
// dead one on its document, stay for ever.
const keepLetters = 30 * 24 * time.Hour

// expired returns the dead letters that died so long before this time and still have their events. Those that concern
// no single document keep them: nobody could be asked for what they say.
func expired(records []parked.Record, now time.Time) (old []parked.Record) {
	for i := range records {
		r := &records[i]
		if r.State == parked.Dead && r.IsKept() && event.Key(r.Key.Data).IsDocument() && now.Sub(r.Changed) >= keepLetters {
			old = append(old, *r)
		}
	}

	return old
}

// dropOld lets go of the events that are too old by this host's clock, if they are by the target's too: what a clock
// that is ahead drops, nobody brings back. Trouble of the target is left to the next time.
func (l *lane) dropOld(stop, work context.Context) error {
	if len(l.old) == 0 {
		return nil
	}

	ctx, cancel := context.WithTimeout(work, requestTimeout)
	defer cancel()

	now, err := mongodb.LocalTime(ctx, l.target)

	switch {
	case mongodb.IsTransient(err):
		return nil
	case err != nil:
		return err
	}

	letters := map[string]event.Key{}
	for _, r := range expired(l.old, now) {
		letters[r.ID] = event.Key(r.Key.Data)
	}

	l.old = nil

	lot := l.parked.Drop(letters)
	if lot == nil {
		return nil
	}

	return l.settleParked(stop, work, lot)
}

package park

import (
	"github.com/atlas-relay/atlas-relay/pkg/event"
	"github.com/atlas-relay/atlas-relay/pkg/parked"
)

// Refuse takes the event with this number out of what is applied, and what may not pass it. ok is false when the lot
// does not apply it.
func (l *Lot) Refuse(number int64, why Refusal) (ok bool) {
	at := l.applies(number)
	if at < 0 {
		return false
	}

	refused := &l.Items[at]
	if !refused.Key.IsDocument() { // the source has no document of that key
		why.Reason = parked.Failed
	}

	refused.Fate, refused.refusal = Refuse, why
	l.stop(at)

	return true
}

// Foresee takes an event of the stream out of what is applied, and what may not pass it, because it looks like what the
// target refuses: it is parked, and tried for the first time from there, where it undoes no others' work. ok is false
// when the lot does not apply it, or cannot do without asking.
func (l *Lot) Foresee(number int64) (ok bool) {
	at := l.applies(number)
	if at < 0 || l.Items[at].Entry != nil || !l.Items[at].Key.IsDocument() {
		return false
	}

	l.Items[at].Fate, l.Items[at].refusal = Follow, Refusal{Text: foreseen}
	l.stop(at)

	return true
}

// foreseen stands in the record of an event for want of an error.
const foreseen = "not tried yet: the target refused every document like it"

// applies is the index of the event that the lot applies; -1 for none.
func (l *Lot) applies(number int64) int {
	at := -1

	for i := range l.Items {
		if item := &l.Items[i]; item.Number == number && (item.Fate == Apply || l.Image && i == 0) {
			at = i
		}
	}

	return at
}

// stop keeps what is behind an event that is not applied from passing it.
func (l *Lot) stop(at int) {
	stopped := &l.Items[at]
	applied := false // an event of the document before it, which covers what is skipped

	for i := range l.Items {
		item := &l.Items[i]
		if item.Key != stopped.Key {
			continue
		}

		switch {
		case i < at:
			applied = applied || item.Fate == Apply
		case i > at && item.Entry == nil && item.Fate == Apply:
			item.Fate = Follow
		case i > at && item.Entry != nil:
			item.Fate = Keep
		}
	}

	if !applied {
		l.keepSkipped(stopped.Key)
	}
}

// keepSkipped leaves parked what only the refused event would have covered.
func (l *Lot) keepSkipped(key event.Key) {
	for i := range l.Items {
		if item := &l.Items[i]; item.Key == key && item.Entry != nil && item.Fate == Skip {
			item.Fate = Keep
		}
	}
}

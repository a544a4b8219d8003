package deadletter

import (
	"context"
	"fmt"
	"slices"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo/options"

	"github.com/atlas-relay/atlas-relay/pkg/event"
	"github.com/atlas-relay/atlas-relay/pkg/parked"
)

// RefusalReason is why a record was left as it was.
type RefusalReason int

// The reasons. The audit holds their numbers: they are not changed.
const (
	NotFound        RefusalReason = iota + 1
	NotDead                       // there is nothing to do, or not any more
	NoEvent                       // what would be replayed is gone
	OtherCollection               // the source has made the collection anew since
	Unreadable                    // edited by hand
	Unrepeatable                  // a drop or a rename: it might hit what was made since
	NoDocument                    // there is no single document that the source could be asked for
)

// Refusal is a record that was left as it was.
type Refusal struct {
	Name    string
	Reason  RefusalReason
	Message string
}

// refuse says why a record cannot be changed; nil when it can.
func refuse(name string, letter *Letter, verb Verb, outdated []incarnation) *Refusal {
	switch {
	case letter == nil:
		return &Refusal{name, NotFound, "the flow has no record of this name"}
	case letter.Unreadable != "":
		return &Refusal{name, Unreadable, letter.Unreadable + "; mend it in atlas_relay.parked of the target"}
	case letter.State != parked.Dead:
		return &Refusal{name, NotDead, "it is " + string(letter.State) + lastAction(letter)}
	case verb == Discard:
		return nil
	case verb == Replay && letter.Operation.TakesAway():
		return &Refusal{name, Unrepeatable, "a " + string(letter.Operation) +
			" that comes late may hit what the source has made since; make it by hand if it is still wanted, then discard it"}
	case verb == Replay && letter.Event == nil && letter.Chunks == 0 && letter.IsKept():
		return &Refusal{name, NoEvent, "its event was not kept; refetch its document, or bring it up to the source by hand and discard it"}
	case verb == Refetch && !letter.Operation.IsDocument():
		return &Refusal{name, NoDocument, "a " + string(letter.Operation) + " is no change of a document that the source could be asked for; replay it, or discard it"}
	case verb == Refetch && !event.Key(letter.Key.Data).IsDocument():
		return &Refusal{name, NoDocument, letter.Namespace().String() +
			" is capped, or has a collation of its own: its changes stand for the whole collection; replay it, or discard it"}
	case slices.ContainsFunc(outdated, func(i incarnation) bool { return i.is(&letter.Record) }):
		return &Refusal{name, OtherCollection, "a newer event of " + letter.Namespace().String() +
			" is of another collection: it was dropped or renamed since; discard it"}
	default:
		return nil
	}
}

func lastAction(letter *Letter) string {
	if len(letter.Trail) == 0 {
		return ""
	}

	a := letter.Trail[len(letter.Trail)-1]

	return fmt.Sprintf("; last action: %s by %s at %s", a.Action, a.Who, a.When.UTC().Format(time.RFC3339))
}

// judged are the fields that refuse judges. Of the event only one field is read, so that its presence is known.
func judged() bson.D {
	var projection bson.D
	for _, field := range []string{"rev", "state", "operation", "db", "coll", "key", "collection_uuid", "chunks", "events", "dropped", "trail", "event.operationType"} {
		projection = append(projection, bson.E{Key: field, Value: 1})
	}

	return projection
}

// look reads what refuse judges, by name.
func (l *Letters) look(ctx context.Context, filter bson.D) (map[string]*Letter, error) {
	cursor, err := parked.Records(l.target).Find(ctx, filter, options.Find().SetProjection(judged()))
	if err != nil {
		return nil, l.failed(err)
	}

	var found []bson.Raw
	if err := cursor.All(ctx, &found); err != nil {
		return nil, l.failed(err)
	}

	letters := make(map[string]*Letter, len(found))

	for _, raw := range found {
		letter := decode(raw)
		letters[letter.ID] = &letter
	}

	return letters, nil
}

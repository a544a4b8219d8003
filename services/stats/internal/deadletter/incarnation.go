package deadletter

import (
	"bytes"
	"context"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/atlas-relay/atlas-relay/pkg/parked"
)

// incarnation is a collection as the source made it: one that was dropped and made anew is another.
type incarnation struct {
	DB   string      `bson:"db"`
	Coll string      `bson:"coll"`
	UUID bson.Binary `bson:"collection_uuid"`
}

func (i *incarnation) is(r *parked.Record) bool {
	return i.DB == r.DB && i.Coll == r.Coll && i.UUID.Subtype == r.CollectionUUID.Subtype && bytes.Equal(i.UUID.Data, r.CollectionUUID.Data)
}

// outdated returns the incarnations of which a newer one is known. An event of theirs must not be written into what is
// there now. Only parked events are compared, as the source cannot be asked from here: what is returned is certain, but
// a collection may be outdated without an event that says so. The owner, who sees all events, has the last word.
func (l *Letters) outdated(ctx context.Context) ([]incarnation, error) {
	cursor, err := parked.Records(l.target).Aggregate(ctx, bson.A{
		bson.D{{Key: "$match", Value: bson.D{{Key: "flow", Value: l.flow}}}},
		bson.D{{Key: "$group", Value: bson.D{
			{Key: "_id", Value: bson.D{{Key: "db", Value: "$db"}, {Key: "coll", Value: "$coll"}, {Key: "collection_uuid", Value: "$collection_uuid"}}},
			{Key: "newest", Value: bson.D{{Key: "$max", Value: bson.D{
				{Key: "t", Value: "$position.t"}, {Key: "i", Value: "$position.i"}, {Key: "o", Value: "$position.ordinal"},
			}}}},
		}}},
		bson.D{{Key: "$sort", Value: bson.D{{Key: "newest", Value: -1}}}},
	})
	if err != nil {
		return nil, l.failed(err)
	}

	var found []bson.Raw
	if err := cursor.All(ctx, &found); err != nil {
		return nil, l.failed(err)
	}

	var outdated []incarnation

	known := make(map[[2]string]bool)

	for _, raw := range found {
		var group struct {
			ID incarnation `bson:"_id"`
		}
		if bson.Unmarshal(raw, &group) != nil || len(group.ID.UUID.Data) == 0 {
			continue // edited by hand, or an event without a UUID
		}

		namespace := [2]string{group.ID.DB, group.ID.Coll}
		if known[namespace] {
			outdated = append(outdated, group.ID)
		}

		known[namespace] = true
	}

	return outdated, nil
}

package checkpoint

import (
	"context"
	"fmt"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"

	"github.com/atlas-relay/atlas-relay/pkg/event"
)

// UnsupportedDocument counts the events of one kind in one namespace that were
// skipped because this version cannot apply them. It is written in the
// transaction that moves the checkpoint past them, so it survives every crash.
type UnsupportedDocument struct {
	ID        string `bson:"_id"` // see UnsupportedID
	Flow      string `bson:"flow"`
	DB        string `bson:"db"`
	Coll      string `bson:"coll"` // empty for an event of a database
	Operation string `bson:"operation"`
	Events    int64  `bson:"events"`
	// Diverges tells whether the target differs from the source because of them.
	Diverges bool           `bson:"diverges"`
	First    event.Position `bson:"first"`
	Last     event.Position `bson:"last"`
	// AcceptedEvents is how many of them an operator has accepted (relayctl flow
	// accept-divergence): later ones count again.
	AcceptedEvents int64 `bson:"accepted_events,omitempty"`
}

// Unaccepted is how many events the target differs by that nobody has accepted.
func (d *UnsupportedDocument) Unaccepted() int64 {
	if !d.Diverges {
		return 0
	}

	return max(0, d.Events-d.AcceptedEvents)
}

// UnsupportedID returns the _id of the count of an operation in a namespace.
func UnsupportedID(flow string, ns event.Namespace, op event.Operation) string {
	return flow + "/" + string(op) + "/" + ns.String()
}

// LoadUnsupported returns what a flow could not apply, by namespace.
func LoadUnsupported(ctx context.Context, target *mongo.Client, flow string) ([]UnsupportedDocument, error) {
	cursor, err := majority(target).Collection(Unsupported).Find(ctx, bson.D{{Key: "flow", Value: flow}})
	if err != nil {
		return nil, fmt.Errorf("read unsupported events of flow %s: %w", flow, err)
	}

	var documents []UnsupportedDocument
	if err := cursor.All(ctx, &documents); err != nil {
		return nil, fmt.Errorf("read unsupported events of flow %s: %w", flow, err)
	}

	return documents, nil
}

// Delete removes everything that the target remembers of a flow and returns how
// many documents that were, by collection.
func Delete(ctx context.Context, target *mongo.Client, flow string) (map[string]int64, error) {
	deleted := make(map[string]int64)

	for _, collection := range []string{Collection, Unsupported, BarriersCollection} {
		result, err := majority(target).Collection(collection).DeleteMany(ctx, bson.D{{Key: "flow", Value: flow}})
		if err != nil {
			return deleted, fmt.Errorf("delete %s of flow %s in %s: %w", collection, flow, Database, err)
		}

		deleted[collection] = result.DeletedCount
	}

	return deleted, nil
}

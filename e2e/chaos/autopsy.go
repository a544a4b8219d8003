package chaos

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"

	"github.com/atlas-relay/atlas-relay/e2e/chaos/load"
	"github.com/atlas-relay/atlas-relay/pkg/checkpoint"
)

// autopsy keeps what the relay has written to the target for itself, and what the statistics say last, for whoever looks
// at a run that went wrong. What cannot be read is left out.
func (r *run) autopsy(ctx context.Context) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 20*time.Second)
	defer cancel()

	relay := r.World.Target.Client.Database(checkpoint.Database)

	names, err := relay.ListCollectionNames(ctx, bson.D{})
	if err != nil {
		r.note("no autopsy: %v", err)

		return
	}

	for _, name := range names {
		// Events may be large, and are in the stream.
		r.dump(ctx, relay.Collection(name), "atlas_relay."+name+".json", bson.D{{Key: "event", Value: 0}})
	}

	for side, db := range map[string]*mongo.Database{"source": r.Source(), "target": r.Target()} {
		for _, name := range load.Collections() {
			r.dump(ctx, db.Collection(name), fmt.Sprintf("%s.%s.json", side, name), bson.D{{Key: "v", Value: 1}, {Key: "u", Value: 1}, {Key: "n", Value: 1}})
		}
	}

	for _, command := range [][]string{{"status"}, {"partitions"}, {"instances"}} {
		out, _, err := r.Relay.Ctl(ctx, command...)
		r.note("relayctl %v (%v):\n%s", command, err, out)
	}
}

// dump writes the documents of a collection to a file, each in a line.
func (r *run) dump(ctx context.Context, coll *mongo.Collection, name string, projection bson.D) {
	cursor, err := coll.Find(ctx, bson.D{}, options.Find().SetProjection(projection))
	if err != nil {
		return
	}

	file, err := os.Create(filepath.Join(r.folder, name))
	if err != nil {
		return
	}
	defer file.Close()

	for cursor.Next(ctx) {
		fmt.Fprintln(file, cursor.Current)
	}
}

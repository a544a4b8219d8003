package mongodb

import (
	"context"
	"encoding/binary"
	"encoding/hex"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"
)

// OldestOperation returns the cluster time of the first entry of the source's oplog, zero if that has none. Not every
// user may read it (find on local.oplog.rs), and a mongos shows none: the error is the server's, or mongo.ErrNoDocuments.
// Natural order finds the entry at once; sorted by time mongod would read the whole oplog.
func OldestOperation(ctx context.Context, source *mongo.Client) (bson.Timestamp, error) {
	var entry struct {
		TS bson.Timestamp `bson:"ts"`
	}

	first := options.FindOne().SetSort(bson.D{{Key: "$natural", Value: 1}}).SetProjection(bson.D{{Key: "ts", Value: 1}})
	if err := source.Database("local").Collection("oplog.rs").FindOne(ctx, bson.D{}, first).Decode(&entry); err != nil {
		return bson.Timestamp{}, err
	}

	return entry.TS, nil
}

// TimeOf returns the second of a cluster time.
func TimeOf(t bson.Timestamp) time.Time { return time.Unix(int64(t.T), 0) }

// TokenTime reads the cluster time that a resume token of mongod begins with: in hexadecimal the type of a timestamp in a
// key string, then its seconds and increment. known is false for the tokens of other servers, which are made otherwise.
func TokenTime(token bson.Raw) (at bson.Timestamp, known bool) {
	const (
		timestampType = 0x82
		digits        = 2 * (1 + 4 + 4)
	)

	text, ok := token.Lookup("_data").StringValueOK()
	if !ok || len(text) < digits {
		return bson.Timestamp{}, false
	}

	b, err := hex.DecodeString(text[:digits])
	if err != nil || b[0] != timestampType {
		return bson.Timestamp{}, false
	}

	return bson.Timestamp{T: binary.BigEndian.Uint32(b[1:]), I: binary.BigEndian.Uint32(b[5:])}, true
}

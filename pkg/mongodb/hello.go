package mongodb

import (
	"context"
	"errors"
	"fmt"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
)

// Topology is the kind of a deployment.
type Topology string

// The kinds of deployment.
const (
	Standalone Topology = "standalone"
	ReplicaSet Topology = "replica set"
	Sharded    Topology = "sharded cluster"
)

// ErrStandalone says that a deployment has neither change streams nor transactions.
var ErrStandalone = errors.New("standalone mongod: it has no change streams and no transactions")

// Hello is what a deployment says about itself.
type Hello struct {
	Topology        Topology
	SetName         string // empty unless Topology is ReplicaSet
	WritablePrimary bool
	MaxWireVersion  int    // 25 is MongoDB 8.0: https://github.com/mongodb/mongo/blob/master/src/mongo/db/wire_version.h
	Version         string // as buildInfo gives it; for people, not for decisions
	MaxMessageBytes int    // largest wire message
	OperationTime   bson.Timestamp
	ClusterID       string // of a sharded cluster whose config.version may be read, else empty
}

const (
	wireVersion60 = 17 // the first one whose commands take collectionUUID
	wireVersion70 = 21 // of 7.0, the least that a source may be
	wireVersion80 = 25 // the first one with the client-level bulkWrite
)

// HasCollectionUUID tells whether commands may name the UUID of the collection that they are meant for, and are refused
// for another one of the same name (MongoDB 6.0).
func (h Hello) HasCollectionUUID() bool {
	return h.MaxWireVersion >= wireVersion60
}

// TellsNamesFromPaths tells whether updateDescription.disambiguatedPaths says where a name of a field has dots in it
// (MongoDB 6.1, of which 7.0 is the first release that lasts). Without it {"a.b": 1} is a field of that name or the field b
// of a, and nobody can know.
func (h Hello) TellsNamesFromPaths() bool {
	return h.MaxWireVersion >= wireVersion70
}

// HasClientBulkWrite tells whether the command bulkWrite on several namespaces exists (MongoDB 8.0).
func (h Hello) HasClientBulkWrite() bool {
	return h.MaxWireVersion >= wireVersion80
}

// RequireReplicaSet returns ErrStandalone when the deployment can neither be watched nor written in transactions.
func (h Hello) RequireReplicaSet() error {
	if h.Topology == Standalone {
		return ErrStandalone
	}

	return nil
}

// SayHello asks the deployment who it is; it waits for a server as long as the client's server selection does.
func SayHello(ctx context.Context, client *mongo.Client) (Hello, error) {
	admin := client.Database("admin")

	var reply struct {
		SetName           string         `bson:"setName"`
		Message           string         `bson:"msg"`
		IsWritablePrimary bool           `bson:"isWritablePrimary"`
		MaxWireVersion    int            `bson:"maxWireVersion"`
		MaxMessageBytes   int            `bson:"maxMessageSizeBytes"`
		OperationTime     bson.Timestamp `bson:"operationTime"`
	}
	if err := admin.RunCommand(ctx, bson.D{{Key: "hello", Value: 1}}).Decode(&reply); err != nil {
		return Hello{}, fmt.Errorf("ask MongoDB for hello: %w", err)
	}

	var build struct {
		Version string `bson:"version"`
	}
	if err := admin.RunCommand(ctx, bson.D{{Key: "buildInfo", Value: 1}}).Decode(&build); err != nil {
		return Hello{}, fmt.Errorf("ask MongoDB for its version: %w", err)
	}

	topology := topologyOf(reply.SetName, reply.Message)

	id, err := clusterID(ctx, client, topology)
	if err != nil {
		return Hello{}, err
	}

	return Hello{
		ClusterID:       id,
		Topology:        topology,
		SetName:         reply.SetName,
		WritablePrimary: reply.IsWritablePrimary,
		MaxWireVersion:  reply.MaxWireVersion,
		Version:         build.Version,
		MaxMessageBytes: reply.MaxMessageBytes,
		OperationTime:   reply.OperationTime,
	}, nil
}

// LocalTime returns what the deployment's own clock shows; the zero time for a server that does not say.
func LocalTime(ctx context.Context, client *mongo.Client) (time.Time, error) {
	var reply struct {
		LocalTime time.Time `bson:"localTime"`
	}
	if err := client.Database("admin").RunCommand(ctx, bson.D{{Key: "hello", Value: 1}}).Decode(&reply); err != nil {
		return time.Time{}, fmt.Errorf("ask MongoDB for its time: %w", err)
	}

	return reply.LocalTime, nil
}

// topologyOf: a mongos is known by msg "isdbgrid", a member of a set by setName
// (https://www.mongodb.com/docs/manual/reference/command/hello/).
func topologyOf(setName, message string) Topology {
	switch {
	case message == "isdbgrid":
		return Sharded
	case setName != "":
		return ReplicaSet
	default:
		return Standalone
	}
}

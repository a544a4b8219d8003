package mongodb

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
)

// Identity names the deployment in a way that its members, their addresses and
// restarts do not change: the replica set's name, or the sharded cluster's id
// where the user may read it. Two deployments may share a name, so equality
// proves nothing; a difference does. Compare with SameDeployment.
func (h Hello) Identity() string {
	switch {
	case h.Topology == ReplicaSet:
		return string(ReplicaSet) + " " + h.SetName
	case h.Topology == Sharded && h.ClusterID != "":
		return string(Sharded) + " " + h.ClusterID
	default:
		return string(h.Topology)
	}
}

// SameDeployment tells whether two identities can be of one deployment. A
// sharded cluster without an id is one whose config.version could not be read,
// or that was named before ids were taken: it differs from no sharded cluster.
//
// Wrongly true: a position of one cluster is used on another, which refuses the
// resume token. Wrongly false: a flow stops that has the right source.
func SameDeployment(a, b string) bool {
	return a == b || IsSharded(a) && IsSharded(b) && (a == string(Sharded) || b == string(Sharded))
}

// IsSharded tells whether an identity is that of a sharded cluster.
func IsSharded(identity string) bool {
	return identity == string(Sharded) || strings.HasPrefix(identity, string(Sharded)+" ")
}

// clusterID is the id that a sharded cluster keeps of itself, the same through
// every mongos (https://www.mongodb.com/docs/manual/reference/config-database/#config.version).
// Reading it takes a privilege of its own, because {db: "", collection: ""} does
// not reach into config; without it, and where there is no id, it is empty.
func clusterID(ctx context.Context, client *mongo.Client, topology Topology) (string, error) {
	if topology != Sharded {
		return "", nil
	}

	version, err := client.Database("config").Collection("version").FindOne(ctx, bson.D{}).Raw()

	switch {
	case err == nil:
		return parseClusterID(version), nil
	case errors.Is(err, mongo.ErrNoDocuments), IsUnauthorized(err):
		return "", nil
	default:
		return "", fmt.Errorf("ask the sharded cluster for its id: %w", err)
	}
}

// parseClusterID reads the document of config.version.
func parseClusterID(version bson.Raw) string {
	id, ok := version.Lookup("clusterId").ObjectIDOK()
	if !ok || id.IsZero() {
		return ""
	}

	return id.Hex()
}

package mongodb

import (
	"testing"

	"github.com/stretchr/testify/require"
	"go.mongodb.org/mongo-driver/v2/bson"
)

func TestIdentity(t *testing.T) {
	t.Parallel()

	for want, h := range map[string]Hello{
		"replica set rs0":                          {Topology: ReplicaSet, SetName: "rs0"},
		"sharded cluster":                          {Topology: Sharded},
		"sharded cluster 65f0c0ffee0123456789abcd": {Topology: Sharded, ClusterID: "65f0c0ffee0123456789abcd"},
		"standalone":                               {Topology: Standalone},
	} {
		require.Equal(t, want, h.Identity())
		require.Equal(t, h.Topology == Sharded, IsSharded(want))
	}

	require.False(t, IsSharded("replica set sharded cluster"))
	require.False(t, IsSharded("sharded clusters"))
	require.False(t, IsSharded(""))
}

func TestSameDeployment(t *testing.T) {
	t.Parallel()

	tests := map[string]struct {
		a, b string
		want bool
	}{
		"one set":                       {"replica set rs0", "replica set rs0", true},
		"two sets":                      {"replica set rs0", "replica set rs1", false},
		"prefix of a name":              {"replica set rs", "replica set rs0", false},
		"one cluster":                   {"sharded cluster 1", "sharded cluster 1", true},
		"two clusters":                  {"sharded cluster 1", "sharded cluster 2", false},
		"stream from before ids":        {"sharded cluster", "sharded cluster 1", true},
		"the right was taken away":      {"sharded cluster 1", "sharded cluster", true},
		"both without":                  {"sharded cluster", "sharded cluster", true},
		"set, then cluster":             {"replica set rs0", "sharded cluster", false},
		"set, then cluster with its id": {"replica set rs0", "sharded cluster 1", false},
		"set of a strange name":         {"replica set sharded cluster", "sharded cluster", false},
		"standalone":                    {"standalone", "sharded cluster", false},
	}

	for name, test := range tests {
		require.Equal(t, test.want, SameDeployment(test.a, test.b), name)
		require.Equal(t, test.want, SameDeployment(test.b, test.a), name)
	}
}

func TestParseClusterID(t *testing.T) {
	t.Parallel()

	id := bson.NewObjectID()

	for name, test := range map[string]struct {
		version bson.D
		want    string
	}{
		"mongod 6 to 8": {bson.D{{Key: "_id", Value: 1}, {Key: "clusterId", Value: id}}, id.Hex()},
		"none":          {bson.D{{Key: "_id", Value: 1}}, ""},
		"zero":          {bson.D{{Key: "clusterId", Value: bson.ObjectID{}}}, ""},
		"another type":  {bson.D{{Key: "clusterId", Value: "x"}}, ""},
	} {
		raw, err := bson.Marshal(test.version)
		require.NoError(t, err)
		require.Equal(t, test.want, parseClusterID(raw), name)
	}

	require.Empty(t, parseClusterID(nil))
}

//go:build compose

package compose_test

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/atlas-relay/atlas-relay/e2e/harness"
	"github.com/atlas-relay/atlas-relay/pkg/mongodb"
	"github.com/atlas-relay/atlas-relay/pkg/settings"
)

// TestAnotherSource: SOURCE_URI takes the place of the source in the file, which then is nobody's.
func TestAnotherSource(t *testing.T) {
	s := up(t)
	require.NoError(t, s.reset(t.Context()))

	// The network is made with the first containers.
	_, err := s.compose.Run(t.Context(), "up", "--wait", "source", "target", "nats")
	require.NoError(t, err)

	outside := s.outside(t)

	s.compose.Env = map[string]string{"SOURCE_URI": "mongodb://outside:27017/?replicaSet=outside"}
	s.up(t)

	client, err := mongodb.Connect(settings.NewURI("mongodb://"+outside+"/?directConnection=true"), mongodb.Options{})
	require.NoError(t, err)

	defer func() { require.NoError(t, mongodb.Disconnect(t.Context(), client)) }()

	_, err = s.source.Database("builtin").Collection("documents").InsertOne(t.Context(), bson.D{{Key: "_id", Value: 1}})
	require.NoError(t, err)

	s.arrives(t, client) // and so would have what was written before it
	sample := s.await(t, "everything applied", harness.Applied(s.changes))
	require.Equal(t, s.changes, sample.GetTotalChanges())

	names, err := s.target.ListDatabaseNames(t.Context(), bson.D{})
	require.NoError(t, err)
	require.NotContains(t, names, "builtin")

	require.NoError(t, s.reset(t.Context()))
}

// outside starts a server beside the project, reachable in its network by that name, and returns where this host finds it.
func (s *stack) outside(t *testing.T) (addr string) {
	t.Helper()

	id, err := s.docker.Run(t.Context(), "run", "--detach", "--network", s.compose.Name+"_default", "--network-alias", "outside",
		"--publish", "127.0.0.1::27017", "mongo:8", "--replSet", "outside", "--bind_ip_all")
	require.NoError(t, err)

	t.Cleanup(func() {
		_, err := s.docker.Run(context.WithoutCancel(t.Context()), "rm", "--force", "--volumes", id)
		require.NoError(t, err)
	})

	const primary = "try { rs.status() } catch (e) { rs.initiate({_id: 'outside', members: [{_id: 0, host: 'outside:27017'}]}) }; " +
		"quit(db.hello().isWritablePrimary ? 0 : 1)"

	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()

	require.NoError(t, harness.Await(ctx, time.Second, func(ctx context.Context) (bool, error) {
		_, err := s.docker.Run(ctx, "exec", id, "mongosh", "--quiet", "--eval", primary)

		return err == nil, nil
	}))

	addr, err = s.docker.Run(t.Context(), "port", id, "27017/tcp")
	require.NoError(t, err)

	return addr
}

package mongotest

import (
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"

	"github.com/atlas-relay/atlas-relay/pkg/settings"
)

// Role reads a file of deploy/mongodb: the command createRole in strict JSON, inside one call of runCommand.
func Role(tb testing.TB, path string) bson.D {
	tb.Helper()

	content, err := os.ReadFile(path)
	require.NoError(tb, err)

	_, text, found := strings.Cut(string(content), ".runCommand(")
	require.True(tb, found, "%s calls no runCommand", path)

	var command bson.D
	require.NoError(tb, bson.UnmarshalExtJSON([]byte(text[:strings.LastIndex(text, ")")]), true, &command), path)

	return command
}

// UserWith makes a user whose only role is the file's, on a server with authentication, and returns the URI for it. The
// user has the role's name.
func (s *Server) UserWith(tb testing.TB, root *mongo.Client, path string) settings.URI {
	tb.Helper()

	admin := root.Database("admin")
	role := Role(tb, path)
	name, _ := role[0].Value.(string)

	require.NoError(tb, admin.RunCommand(tb.Context(), role).Err())
	require.NoError(tb, admin.RunCommand(tb.Context(), bson.D{
		{Key: "createUser", Value: name}, {Key: "pwd", Value: "limited"}, {Key: "roles", Value: bson.A{name}},
	}).Err())

	uri := s.uriWithoutUser().Reveal()

	return settings.NewURI(strings.Replace(uri, "mongodb://", "mongodb://"+name+":limited@", 1) + "&authSource=admin")
}

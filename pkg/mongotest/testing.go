package mongotest

import (
	"context"
	"os"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"

	"github.com/atlas-relay/atlas-relay/pkg/mongodb"
	"github.com/atlas-relay/atlas-relay/pkg/settings"
)

// Variable names the server that tests use instead of finding one: make test MONGODB=uri.
const Variable = "MONGODB"

// New starts a server that this test may kill, freeze and write to alone; it ends with the test. A server given by
// URI can be none of this, so New finds a program even then.
func New(tb testing.TB, o Options) *Server {
	tb.Helper()

	choice, err := Find(tb.Context(), FindOptions{Progress: os.Stderr})
	require.NoError(tb, err)

	s, err := Start(tb.Context(), choice, o)
	require.NoError(tb, err)
	tb.Cleanup(func() { require.NoError(tb, s.Stop()) })

	return s
}

// shared is the one server of a test binary.
var shared struct {
	mu     sync.Mutex
	server *Server
}

// Shared returns the server that all tests of a package share: the one of MONGODB, else one that is started by the
// first test that asks. Use databases of DB on it; a change stream on the whole deployment sees those of other tests.
// The package's TestMain must call Main.
func Shared(tb testing.TB) *Server {
	tb.Helper()

	shared.mu.Lock()
	defer shared.mu.Unlock()

	if shared.server != nil {
		return shared.server
	}

	choice, err := Find(tb.Context(), FindOptions{URI: settings.NewURI(os.Getenv(Variable)), Progress: os.Stderr})
	require.NoError(tb, err)

	shared.server, err = Start(context.WithoutCancel(tb.Context()), choice, Options{})
	require.NoError(tb, err)

	return shared.server
}

// M is a *testing.M that ends the shared server after its tests; goleak.VerifyTestMain takes it.
type M struct {
	tests *testing.M
}

// Main wraps the tests of a package: goleak.VerifyTestMain(mongotest.Main(m)).
func Main(m *testing.M) *M {
	return &M{tests: m}
}

// Run runs the tests, then ends the shared server.
func (m *M) Run() int {
	code := m.tests.Run()

	shared.mu.Lock()
	defer shared.mu.Unlock()

	if shared.server == nil {
		return code
	}

	if err := shared.server.Stop(); err != nil && code == 0 {
		_, _ = os.Stderr.WriteString("stop the shared MongoDB: " + err.Error() + "\n")

		return 1
	}

	shared.server = nil

	return code
}

// DB is a new database on the shared server, dropped with the test.
func DB(tb testing.TB) *mongo.Database {
	tb.Helper()

	return Shared(tb).DB(tb)
}

// Client connects as the services do; it disconnects with the test.
func (s *Server) Client(tb testing.TB) *mongo.Client {
	tb.Helper()

	client, err := mongodb.Connect(s.URI(), mongodb.Options{AppName: "mongotest"})
	require.NoError(tb, err)
	tb.Cleanup(func() { _ = mongodb.Disconnect(context.WithoutCancel(tb.Context()), client) })

	return client
}

// DB is a new database of this server, dropped with the test.
func (s *Server) DB(tb testing.TB) *mongo.Database {
	tb.Helper()

	db := s.Client(tb).Database(databaseName(tb.Name()))
	tb.Cleanup(func() {
		if s.choice.Flavor == Given || s.PID() != 0 { // a server that the test killed has nothing to drop
			_ = db.Drop(context.WithoutCancel(tb.Context()))
		}
	})

	return db
}

// Features says where this server behaves as mongod does.
func (s *Server) Features(tb testing.TB) Features {
	tb.Helper()

	features, err := FeaturesOf(tb.Context(), s.Client(tb))
	require.NoError(tb, err)

	return features
}

// databaseName is the test's name, cut to what MongoDB allows (63 bytes, no separators), made unique.
func databaseName(test string) string {
	const most = 30

	clean := strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' {
			return r
		}

		return '_'
	}, test)

	return "t_" + clean[:min(most, len(clean))] + "_" + bson.NewObjectID().Hex()
}

package e2e_test

import (
	"context"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/atlas-relay/atlas-relay/e2e/harness"
)

// TestStatusWords asks relayctl as an operator does, through what can happen to a flow.
func TestStatusWords(t *testing.T) {
	s := openWith(t, map[string]string{"DDL": "off"})
	require.NoError(t, s.source().CreateCollection(t.Context(), "orders"))
	s.replicate()

	becomes := s.becomes

	becomes("OK", 0)

	_, err := s.source().Collection("orders").InsertOne(t.Context(), bson.D{{Key: "_id", Value: 1}})
	require.NoError(t, err)
	s.await("one change applied", harness.Applied(1))
	becomes("OK", 0)

	// Nobody captures.
	require.NoError(t, s.relay.Listener.Stop(t.Context()))
	becomes("DOWN", 1)
	require.NoError(t, s.relay.Listener.Start())
	becomes("OK", 0)

	// An event that this version cannot apply: the target keeps what the source dropped.
	require.NoError(t, s.source().Collection("orders").Drop(t.Context()))
	require.Contains(t, becomes("DIVERGED", 1), s.db+".orders")

	// It survives every restart.
	require.NoError(t, s.relay.Processors()[0].Restart(t.Context()))
	require.NoError(t, s.relay.Stats.Restart(t.Context()))
	becomes("DIVERGED", 1)

	// Nobody answers.
	require.NoError(t, s.relay.Stats.Stop(t.Context()))
	require.Contains(t, becomes("relayctl:", 3), s.relay.GRPCAddr())
}

// becomes waits until relayctl status answers with this word and exit code, and with these texts, and returns its answer.
func (s *scenario) becomes(word string, code int, contains ...string) string {
	s.t.Helper()

	ctx, cancel := context.WithTimeout(s.t.Context(), patience)
	defer cancel()

	var (
		out string
		got int
	)

	err := harness.Await(ctx, 100*time.Millisecond, func(ctx context.Context) (bool, error) {
		var err error

		out, got, err = s.relay.Ctl(ctx, "status")

		missing := slices.ContainsFunc(contains, func(text string) bool { return !strings.Contains(out, text) })

		return strings.HasPrefix(out, word) && got == code && !missing, err
	})
	require.NoError(s.t, err, "last answer, exit code %d:\n%s", got, out)

	return out
}

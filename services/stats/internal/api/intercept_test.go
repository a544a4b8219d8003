package api_test

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	relayv1 "github.com/atlas-relay/atlas-relay/proto/relay/v1"
	"github.com/atlas-relay/atlas-relay/services/stats/internal/access"
	"github.com/atlas-relay/atlas-relay/services/stats/internal/api"
	"github.com/atlas-relay/atlas-relay/services/stats/internal/tally"
)

// TestCallsThatAProxyHandsOn come from another host, though the connection is of this one.
func TestCallsThatAProxyHandsOn(t *testing.T) {
	t.Parallel()

	conn, _ := serve(t, always(sampleStats()))
	client := relayv1.NewStatsServiceClient(conn)

	for _, header := range []string{"forwarded", "via", "x-forwarded-for", "x-forwarded-host", "x-forwarded-proto", "x-real-ip"} {
		_, err := client.GetStats(metadata.AppendToOutgoingContext(t.Context(), header, "192.0.2.1"), new(relayv1.GetStatsRequest))
		requireStatus(t, err, codes.Unauthenticated, "TOKEN_REQUIRED")
	}

	_, err := client.GetStats(t.Context(), new(relayv1.GetStatsRequest))
	require.NoError(t, err)
}

// TestWatchEndsWithTheToken that it was begun with.
func TestWatchEndsWithTheToken(t *testing.T) {
	t.Parallel()

	file := filepath.Join(t.TempDir(), "tokens")
	require.NoError(t, os.WriteFile(file, []byte("board viewer "+viewersToken+"\nann operator "+operatorsToken+"\n"), 0o600))

	tokens, err := access.LoadTokens(file)
	require.NoError(t, err)

	watching, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)

	go func() { done <- tokens.Watch(watching, slog.New(slog.DiscardHandler)) }()
	t.Cleanup(func() { cancel(); require.NoError(t, <-done) })

	conn, _ := serveAs(t, access.New(access.Nobody, access.Nobody, tokens), []api.Flow{always(sampleStats())}, nil)

	soon, cancelSoon := context.WithTimeout(t.Context(), time.Minute)
	defer cancelSoon()

	watch := func(token string) func() error {
		ctx := metadata.AppendToOutgoingContext(soon, "authorization", "Bearer "+token)
		stream, err := relayv1.NewStatsServiceClient(conn).WatchStats(ctx, new(relayv1.WatchStatsRequest))
		require.NoError(t, err)

		return func() error { _, err := stream.Recv(); return err }
	}
	board, ann := watch(viewersToken), watch(operatorsToken)

	require.NoError(t, board())
	require.NoError(t, ann())
	require.NoError(t, os.WriteFile(file, []byte("ann operator "+operatorsToken+"\n"), 0o600))

	for err = board(); err == nil; {
		err = board()
	}

	requireStatus(t, err, codes.Unauthenticated, "TOKEN_UNKNOWN")
	require.NoError(t, ann())
}

// broken is a flow whose samples fail for a reason that callers must not learn.
type broken struct{ api.Flow }

func (broken) Sample(context.Context) (tally.Stats, error) {
	return tally.Stats{}, errors.New("user relay at 10.0.0.7")
}

// TestInternalErrorIsInTheLog beside the id that the caller sees.
func TestInternalErrorIsInTheLog(t *testing.T) {
	t.Parallel()

	var log bytes.Buffer

	conn, stop := serveWith(t, api.Options{
		Guard: access.New(access.Nobody, access.Operator, nil), Flows: []api.Flow{broken{always(sampleStats())}},
		Log: slog.New(slog.NewTextHandler(&log, nil)),
	})
	client := relayv1.NewStatsServiceClient(conn)

	_, unary := client.GetStats(t.Context(), new(relayv1.GetStatsRequest))
	stream, err := client.WatchStats(t.Context(), new(relayv1.WatchStatsRequest))
	require.NoError(t, err)

	_, streamed := stream.Recv()

	stop()

	for _, err := range []error{unary, streamed} {
		require.Equal(t, codes.Internal, status.Code(err))
		require.NotContains(t, err.Error(), "10.0.0.7")

		_, id, found := strings.Cut(status.Convert(err).Message(), "beside the id ")
		require.True(t, found, err)
		require.Regexp(t, `id=`+id+` method=\S+ error="?user relay at 10\.0\.0\.7`, log.String())
	}
}

// TestRefusedTokensAreInTheLog, but not each of one who guesses.
func TestRefusedTokensAreInTheLog(t *testing.T) {
	t.Parallel()

	var log bytes.Buffer

	conn, stop := serveWith(t, api.Options{
		Guard: access.New(access.Nobody, access.Operator, nil), Flows: []api.Flow{always(sampleStats())},
		Log: slog.New(slog.NewTextHandler(&log, nil)),
	})

	const guesses = 100

	begin := time.Now()

	for range guesses {
		ctx := metadata.AppendToOutgoingContext(t.Context(), "authorization", "Bearer hunter2")
		_, err := relayv1.NewStatsServiceClient(conn).GetStats(ctx, new(relayv1.GetStatsRequest))
		requireStatus(t, err, codes.Unauthenticated, "TOKEN_UNKNOWN")
	}

	minutes := int(time.Since(begin) / time.Minute)

	stop()

	told := strings.Count(log.String(), "a token that is not known was shown")
	require.GreaterOrEqual(t, told, 10)
	require.LessOrEqual(t, told, 11+minutes)
	require.Contains(t, log.String(), "caller=127.0.0.1:")
	require.NotContains(t, log.String(), "hunter2")
}

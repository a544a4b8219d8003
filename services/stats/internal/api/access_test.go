package api_test

import (
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	relayv1 "github.com/atlas-relay/atlas-relay/proto/relay/v1"
	"github.com/atlas-relay/atlas-relay/services/stats/internal/access"
	"github.com/atlas-relay/atlas-relay/services/stats/internal/api"
	"github.com/atlas-relay/atlas-relay/services/stats/internal/deadletter"
)

const (
	viewersToken   = "viewer-0123456789abcdef"
	operatorsToken = "operator-0123456789abcdef"
)

// TestRolesOfMethods asks every method of the services as everybody. Callers of a test are of this host: beside a file of
// tokens they are viewers.
func TestRolesOfMethods(t *testing.T) {
	t.Parallel()

	file := filepath.Join(t.TempDir(), "tokens")
	require.NoError(t, os.WriteFile(file, []byte("board viewer "+viewersToken+"\nann operator "+operatorsToken+"\n"), 0o600))

	tokens, err := access.LoadTokens(file)
	require.NoError(t, err)

	conn, _ := serveAs(t, access.New(access.Nobody, access.Viewer, tokens), []api.Flow{always(sampleStats())}, nil)
	// Whoever does not say how much of a dead letter he wants asks for its contents.
	operators := []string{"ReplayDeadLetters", "RefetchDeadLetters", "DiscardDeadLetters", "PauseFlow", "ResumeFlow", "GetDeadLetter"}

	for _, service := range []grpc.ServiceDesc{relayv1.StatsService_ServiceDesc, relayv1.DeadLetterService_ServiceDesc, relayv1.FlowService_ServiceDesc} {
		for _, method := range service.Methods {
			full := "/" + service.ServiceName + "/" + method.MethodName
			ask := func(token string) codes.Code {
				ctx := t.Context()
				if token != "" {
					ctx = metadata.AppendToOutgoingContext(ctx, "authorization", "Bearer "+token)
				}

				return status.Code(conn.Invoke(ctx, full, new(relayv1.GetStatsRequest), new(relayv1.ListFlowsResponse)))
			}

			require.Equal(t, codes.Unauthenticated, ask("somebody-0123456789abcdef"), full)

			refused := []codes.Code{codes.Unauthenticated, codes.PermissionDenied}
			needsOperator := slices.Contains(operators, method.MethodName)
			require.Equal(t, needsOperator, slices.Contains(refused, ask("")), full)
			require.Equal(t, needsOperator, ask(viewersToken) == codes.PermissionDenied, full)
			require.NotContains(t, refused, ask(operatorsToken), full)
		}
	}

	health, err := grpc_health_v1.NewHealthClient(conn).Check(t.Context(), new(grpc_health_v1.HealthCheckRequest))
	require.NoError(t, err)
	require.Equal(t, grpc_health_v1.HealthCheckResponse_SERVING, health.GetStatus())
}

// A viewer learns that there is a dead letter, and what the target said, but not what the documents hold.
func TestContentsAreForOperators(t *testing.T) {
	t.Parallel()

	file := filepath.Join(t.TempDir(), "tokens")
	require.NoError(t, os.WriteFile(file, []byte("board viewer "+viewersToken+"\nann operator "+operatorsToken+"\n"), 0o600))

	tokens, err := access.LoadTokens(file)
	require.NoError(t, err)

	w := newLetterWorld(t)
	name := w.insertDead(t, 1)[0]
	conn, _ := serveAs(t, access.New(access.Nobody, access.Viewer, tokens), nil, []*deadletter.Letters{deadletter.New(w.flow, w.target)})
	client := relayv1.NewDeadLetterServiceClient(conn)

	ask := func(token string, view relayv1.DeadLetterView) (*relayv1.GetDeadLetterResponse, error) {
		ctx := metadata.AppendToOutgoingContext(t.Context(), "authorization", "Bearer "+token)

		return client.GetDeadLetter(ctx, &relayv1.GetDeadLetterRequest{Name: name, View: view})
	}

	for _, view := range []relayv1.DeadLetterView{relayv1.DeadLetterView_DEAD_LETTER_VIEW_UNSPECIFIED, relayv1.DeadLetterView_DEAD_LETTER_VIEW_FULL} {
		_, err = ask(viewersToken, view)
		requireStatus(t, err, codes.PermissionDenied, "ROLE_TOO_LOW")

		got, err := ask(operatorsToken, view)
		require.NoError(t, err)
		require.NotEmpty(t, got.GetEventBson())
	}

	got, err := ask(viewersToken, relayv1.DeadLetterView_DEAD_LETTER_VIEW_BASIC)
	require.NoError(t, err)
	require.Equal(t, name, got.GetDeadLetter().GetName())
	require.Empty(t, got.GetEventBson())
}

// Nobody but the HTTP side of this process is believed where a request comes from.
func TestMetadataOfStrangersIsNotBelieved(t *testing.T) {
	t.Parallel()

	w := newLetterWorld(t)
	w.forget(t)

	ctx := metadata.AppendToOutgoingContext(t.Context(), api.MetadataPeer, "10.0.0.1:1", api.MetadataRebound, "true")
	_, err := w.client.ReplayDeadLetters(ctx, &relayv1.ReplayDeadLettersRequest{Selection: named("nobody"), RequestedBy: "ann"})
	require.NoError(t, err)
	require.Contains(t, w.audit(t, new(relayv1.ListAuditRecordsRequest)).GetRecords()[0].GetWho(), "ann from 127.0.0.1:")
}

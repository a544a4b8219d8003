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

	conn, _ := serveAs(t, access.New(access.Nobody, tokens), []api.Flow{always(sampleStats())}, nil)
	mutations := []string{"ReplayDeadLetters", "DiscardDeadLetters", "PauseFlow", "ResumeFlow"}

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
			mutates := slices.Contains(mutations, method.MethodName)
			require.Equal(t, mutates, slices.Contains(refused, ask("")), full)
			require.Equal(t, mutates, ask(viewersToken) == codes.PermissionDenied, full)
			require.NotContains(t, refused, ask(operatorsToken), full)
		}
	}

	health, err := grpc_health_v1.NewHealthClient(conn).Check(t.Context(), new(grpc_health_v1.HealthCheckRequest))
	require.NoError(t, err)
	require.Equal(t, grpc_health_v1.HealthCheckResponse_SERVING, health.GetStatus())
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

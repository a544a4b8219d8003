package api

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/atlas-relay/atlas-relay/services/stats/internal/access"
)

// Who may ask nothing is not told what could be asked; probes have no token; what is not known is for operators.
func TestNeedsOfWhatIsNotOurs(t *testing.T) {
	t.Parallel()

	require.Equal(t, access.Nobody, needs("/grpc.health.v1.Health/Check"))
	require.Equal(t, access.Viewer, needs("/grpc.reflection.v1.ServerReflection/ServerReflectionInfo"))
	require.Equal(t, access.Viewer, needs("/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo"))
	require.Equal(t, access.Operator, needs("/relay.v1.StatsService/ToBeWritten"))
}

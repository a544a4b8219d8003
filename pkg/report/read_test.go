package report_test

import (
	"testing"

	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"

	"github.com/atlas-relay/atlas-relay/pkg/natstest"
	"github.com/atlas-relay/atlas-relay/pkg/report"
	"github.com/atlas-relay/atlas-relay/pkg/topology"
	relayv1 "github.com/atlas-relay/atlas-relay/proto/relay/v1"
)

func TestProcessorsOfAFlow(t *testing.T) {
	t.Parallel()

	js := natstest.New(t).JetStream(t)

	_, err := report.OpenBucket(t.Context(), js)
	require.ErrorContains(t, err, "open bucket "+topology.StatsBucket)

	bucket, err := js.CreateKeyValue(t.Context(), topology.StatsConfig())
	require.NoError(t, err)

	none, err := report.Processors(t.Context(), bucket, "test")
	require.NoError(t, err)
	require.Empty(t, none)

	put := func(key string, value []byte) uint64 {
		t.Helper()

		revision, err := bucket.Put(t.Context(), key, value)
		require.NoError(t, err)

		return revision
	}
	encode := func(reason string) []byte {
		value, err := proto.Marshal(&relayv1.ProcessorReport{Reason: reason})
		require.NoError(t, err)

		return value
	}

	put(topology.ProcessorReportKey("test", "a"), encode("earlier"))
	last := put(topology.ProcessorReportKey("test", "a"), encode("last"))
	put(topology.ProcessorReportKey("test", "gone"), encode("gone"))
	put(topology.ProcessorReportKey("test", "newer"), []byte("of another version"))
	put(topology.ProcessorReportKey("other", "a"), encode("of another flow"))
	put(topology.ListenerReportKey("test", "a"), encode("no processor"))
	require.NoError(t, bucket.Delete(t.Context(), topology.ProcessorReportKey("test", "gone")))

	got, err := report.Processors(t.Context(), bucket, "test")
	require.NoError(t, err)
	require.Len(t, got, 1)
	require.Equal(t, "last", got[0].GetReason())
	require.Equal(t, last, got[0].Revision)
	require.False(t, got[0].At.IsZero())
}

package chain_test

import (
	"context"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/require"

	"github.com/atlas-relay/atlas-relay/pkg/natstest"
)

// TestIDChainStopsReplicatedStreams is why the batch mode exists: on this
// nats-server one refused message of an id chain stops a replicated stream on
// all replicas, for good, while a refused sequence is harmless. When this test
// fails, the server has been mended: see ADR 15, and let a chain have replicas
// again if the rest of what it says is mended too.
func TestIDChainStopsReplicatedStreams(t *testing.T) {
	t.Parallel()

	js := natstest.StartCluster(t, 3, natstest.Options{}).JetStream(t)

	stream, err := js.CreateStream(t.Context(), jetstream.StreamConfig{Name: "S", Subjects: []string{"s"}, Replicas: 3})
	require.NoError(t, err)

	publish := func(timeout time.Duration, id, header, value string) error {
		ctx, cancel := context.WithTimeout(t.Context(), timeout)
		defer cancel()

		msg := nats.NewMsg("s")
		msg.Header.Set(jetstream.MsgIDHeader, id)
		msg.Header.Set(header, value)

		_, err := js.PublishMsg(ctx, msg)

		return err
	}

	const patient, short = 30 * time.Second, 5 * time.Second

	require.NoError(t, publish(patient, "a", jetstream.ExpectedLastSeqHeader, "0"))
	require.NoError(t, publish(patient, "b", jetstream.ExpectedLastMsgIDHeader, "a"))

	refused := new(jetstream.APIError)

	require.ErrorAs(t, publish(patient, "x", jetstream.ExpectedLastSeqHeader, "1"), &refused)
	require.NoError(t, publish(patient, "c", jetstream.ExpectedLastSeqHeader, "2"), "a refused sequence must not harm")

	require.ErrorAs(t, publish(patient, "x", jetstream.ExpectedLastMsgIDHeader, "a"), &refused)
	require.Error(t, publish(short, "d", jetstream.ExpectedLastMsgIDHeader, "c"), "the server lives on after a refused id: it has been mended")
	require.Error(t, publish(short, "e", jetstream.ExpectedLastSeqHeader, "3"), "the server lives on after a refused id: it has been mended")

	info, err := stream.Info(t.Context())
	require.NoError(t, err)
	require.Empty(t, info.Cluster.Leader, "the server lives on after a refused id: it has been mended")
}

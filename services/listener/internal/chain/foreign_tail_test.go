package chain_test

import (
	"testing"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/require"

	"github.com/atlas-relay/atlas-relay/pkg/event"
	"github.com/atlas-relay/atlas-relay/pkg/topology"
	"github.com/atlas-relay/atlas-relay/services/listener/internal/chain"
)

// TestForeignTailIsRefused: a stranger's message is no place to go on from, however well it is made: one of another stream,
// and one that no next message could name.
func TestForeignTailIsRefused(t *testing.T) {
	t.Parallel()

	forgeries := map[string]func(*nats.Msg){
		"of another stream": func(m *nats.Msg) { m.Header.Set(event.HeaderStream, topology.NewStreamID()) },
		"without an id":     func(m *nats.Msg) { m.Header.Del(jetstream.MsgIDHeader) },
	}

	for name, forge := range forgeries {
		t.Run(name, func(t *testing.T) {
			t.Parallel()

			server, stream := newStream(t, topology.PublishChain, 64<<20)
			require.NoError(t, newWriter(t, server, stream, 1).publish(t, 1))

			live, err := server.JetStream(t).Stream(t.Context(), stream.Name())
			require.NoError(t, err)

			genuine, err := live.GetMsg(t.Context(), 2)
			require.NoError(t, err)

			forged := &nats.Msg{Subject: genuine.Subject, Header: genuine.Header, Data: genuine.Data}
			forged.Header.Del(jetstream.ExpectedLastMsgIDHeader)
			forged.Header.Del(jetstream.ExpectedLastSeqHeader)
			forged.Header.Set(jetstream.MsgIDHeader, "a-stranger")
			forge(forged)

			_, err = server.JetStream(t).PublishMsg(t.Context(), forged)
			require.NoError(t, err)

			_, err = chain.ReadTail(t.Context(), stream)
			require.ErrorIs(t, err, chain.ErrForeignTail)
		})
	}
}

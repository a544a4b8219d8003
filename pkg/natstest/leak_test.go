package natstest_test

import (
	"runtime"
	"strings"
	"testing"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/atlas-relay/atlas-relay/pkg/natstest"
)

// TestAbandonedHidesNoServer: the functions passed over are those of the store that a batch has until it is committed, and a
// server that runs is found all the same.
func TestAbandonedHidesNoServer(t *testing.T) {
	t.Parallel()

	js := natstest.New(t).JetStream(t)
	_, err := js.CreateStream(t.Context(), jetstream.StreamConfig{Name: "S", Subjects: []string{"s.>"}, AllowAtomicPublish: true})
	require.NoError(t, err)

	running := func(function string) bool {
		stacks := make([]byte, 16<<20)

		return strings.Contains(string(stacks[:runtime.Stack(stacks, true)]), "nats-server/v2/server"+function+"(")
	}

	_, err = js.Conn().RequestMsg(&nats.Msg{Subject: "s.a", Header: nats.Header{"Nats-Batch-Id": {"b"}, "Nats-Batch-Sequence": {"1"}}}, patience)
	require.NoError(t, err)

	for _, function := range []string{".(*msgBlock).flushLoop", ".(*fileStore).flushStreamStateLoop", "/ats.Register.func1"} {
		require.True(t, running(function), function)
	}

	require.ErrorContains(t, goleak.Find(natstest.Abandoned()...), "AcceptLoop")
}

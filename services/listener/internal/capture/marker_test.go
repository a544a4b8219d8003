package capture_test

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/atlas-relay/atlas-relay/pkg/mongotest"
	"github.com/atlas-relay/atlas-relay/pkg/natstest"
	"github.com/atlas-relay/atlas-relay/pkg/topology"
	"github.com/atlas-relay/atlas-relay/services/listener/internal/capture"
)

// TestMarkerThatTheServerDoesNotTake: a marker travels in one piece. One that is too large, with its filter or its table, is
// as large at the next attempt.
func TestMarkerThatTheServerDoesNotTake(t *testing.T) {
	t.Parallel()

	inEachMode(t, func(t *testing.T, mode topology.PublishMode) {
		t.Helper()

		server := mongotest.New(t, mongotest.Options{})
		nats := natstest.Start(t, natstest.Options{MaxPayload: 16 << 10})
		w := &world{mongo: server, source: connect(t, server), nats: nats, js: nats.JetStream(t)}
		w.initAs(t, mode, gib)

		l := w.listen(t, func(o *capture.Options) {
			for n := range 1000 {
				o.Exclude = append(o.Exclude, fmt.Sprintf("shop.left_out_%04d", n))
			}
		})
		insert(t, w.source, orders, 0, 5)

		reason := l.await(t, capture.Failed).Reason
		require.Contains(t, reason, "marker")
		require.Contains(t, reason, "raise max_payload")
	})
}

package main

import (
	"context"
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"

	"github.com/atlas-relay/atlas-relay/pkg/mongotest"
	"github.com/atlas-relay/atlas-relay/pkg/natstest"
	"github.com/atlas-relay/atlas-relay/pkg/topology"
	relayv1 "github.com/atlas-relay/atlas-relay/proto/relay/v1"
)

// TestStandbyIsReadyAndSaysSo starts two listeners as main does: both are ready, one says that it stands by and for
// whom, and it reports so; when the other one stops, it is the active one.
func TestStandbyIsReadyAndSaysSo(t *testing.T) {
	t.Parallel()

	source, natsd := mongotest.New(t, mongotest.Options{}), natstest.New(t)
	initFlow(t, source.Client(t), natsd)

	start := func() (addr string, end func()) {
		addr = freeAddr(t)
		ctx, stop := context.WithCancel(t.Context())
		done := make(chan error, 1)

		go func() {
			done <- realMain(ctx, nil, map[string]string{
				"FLOW": "test", "SOURCE_URI": source.URI().Reveal(), "NATS_URL": natsd.URL(), "OPS_ADDR": addr, "LOG_LEVEL": "error",
				"LEASE_TTL": "1h",
			})
		}()

		return addr, func() {
			stop()
			require.NoError(t, <-done)
		}
	}

	first, endFirst := start()
	streams := func(addr string) func() bool {
		return func() bool {
			status, body := get(t, "http://"+addr+"/readyz")

			return status == http.StatusOK && len(body.Notes) == 0
		}
	}
	require.Eventually(t, streams(first), patience, glance)

	second, endSecond := start()
	require.Eventually(t, func() bool {
		status, body := get(t, "http://"+second+"/readyz")

		return status == http.StatusOK && len(body.Notes) == 1 && strings.HasPrefix(body.Notes[0].Reason, "STANDBY: another listener is active (id=")
	}, patience, glance)

	require.Eventually(t, func() bool { return states(t, natsd) == "STANDBY STREAMING" }, patience, glance)

	endFirst()
	require.Eventually(t, streams(second), patience, glance)
	require.Eventually(t, func() bool { return states(t, natsd) == "STREAMING" }, patience, glance)
	endSecond()
}

// states are those that the listeners report, in order. Only one that streams may have a term and a lag.
func states(t *testing.T, natsd *natstest.Server) string {
	t.Helper()

	bucket, err := natsd.JetStream(t).KeyValue(t.Context(), topology.StatsBucket)
	require.NoError(t, err)

	keys, err := bucket.Keys(t.Context())
	if err != nil {
		return ""
	}

	var standby, streaming []string

	for _, key := range keys {
		entry, err := bucket.Get(t.Context(), key)
		if err != nil {
			return ""
		}

		var r relayv1.ListenerReport

		require.NoError(t, proto.Unmarshal(entry.Value(), &r))

		switch state := strings.TrimPrefix(r.GetState().String(), "LISTENER_STATE_"); state {
		case "STREAMING":
			require.Positive(t, r.GetTerm())

			streaming = append(streaming, state)
		case "STANDBY":
			require.Zero(t, r.GetTerm())
			require.Nil(t, r.GetCaptureLag())

			standby = append(standby, state)
		default:
			return state
		}
	}

	return strings.Join(append(standby, streaming...), " ")
}

package main

import (
	"testing"

	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"

	"github.com/atlas-relay/atlas-relay/pkg/topology"
	relayv1 "github.com/atlas-relay/atlas-relay/proto/relay/v1"
)

// reports returns the last report of each processor.
func (w *world) reports(tb testing.TB) []*relayv1.ProcessorReport {
	tb.Helper()

	bucket, err := w.js.KeyValue(tb.Context(), topology.StatsBucket)
	require.NoError(tb, err)

	keys, err := bucket.Keys(tb.Context())
	if err != nil {
		return nil
	}

	var all []*relayv1.ProcessorReport

	for _, key := range keys {
		entry, err := bucket.Get(tb.Context(), key)
		if err != nil {
			continue // deleted in between
		}

		report := &relayv1.ProcessorReport{}
		require.NoError(tb, proto.Unmarshal(entry.Value(), report))

		all = append(all, report)
	}

	return all
}

// report returns the only processor's last report.
func (w *world) report(tb testing.TB) *relayv1.ProcessorReport {
	tb.Helper()

	all := w.reports(tb)
	if len(all) == 0 {
		return &relayv1.ProcessorReport{}
	}

	require.Len(tb, all, 1)

	return all[0]
}

// awaitState waits until the report shows a partition in this state, and returns
// the reason it gives.
func (w *world) awaitState(tb testing.TB, partition int, state relayv1.PartitionState) string {
	tb.Helper()

	reason := ""

	require.Eventually(tb, func() bool {
		for _, p := range w.report(tb).GetPartitions() {
			if int(p.GetPartition()) == partition && p.GetState() == state {
				reason = p.GetReason()

				return true
			}
		}

		return false
	}, patience, glance)

	return reason
}

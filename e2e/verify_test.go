package e2e_test

import (
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/atlas-relay/atlas-relay/e2e/harness"
	relayv1 "github.com/atlas-relay/atlas-relay/proto/relay/v1"
)

// verifyReport is what these tests read of relayctl verify -o json.
type verifyReport struct {
	Outcome string `json:"outcome"`
	Totals  struct {
		Documents int64 `json:"documents"`
		Suspects  int64 `json:"suspects"`
	} `json:"totals"`
	Differences []struct {
		Namespace string          `json:"namespace"`
		ID        json.RawMessage `json:"_id"`
		Kind      string          `json:"kind"`
		Field     string          `json:"field"`
		Cause     string          `json:"cause"`
	} `json:"differences"`
	Catalog []json.RawMessage `json:"catalog_differences"`
}

func (s *scenario) verify(code int, args ...string) verifyReport {
	s.t.Helper()

	ctx, cancel := context.WithTimeout(s.t.Context(), 2*patience)
	defer cancel()

	answer, err := s.relay.CtlAnswer(ctx, append([]string{"verify", "-o", "json"}, args...)...)
	require.NoError(s.t, err)
	require.Equal(s.t, code, answer.Code, "%s%s", answer.Data, answer.Messages)

	var report verifyReport
	require.NoError(s.t, json.Unmarshal(answer.Data, &report))

	return report
}

// TestVerifyDuringTraffic finds nothing while everything is in flight, and then exactly the one document that is damaged;
// killed in between it goes on where it was.
func TestVerifyDuringTraffic(t *testing.T) {
	s := open(t)
	source, target := s.world.Source.Client.Database(s.beside()), s.world.Target.Client.Database(s.beside())
	require.NoError(t, source.CreateCollection(t.Context(), "quiet"))
	s.write()

	documents := make([]any, 500)
	for n := range documents {
		documents[n] = bson.D{{Key: "_id", Value: n}, {Key: "stock", Value: bson.D{{Key: "count", Value: n}}}}
	}

	_, err := source.Collection("quiet").InsertMany(t.Context(), documents)
	require.NoError(t, err)

	s.others += uint64(len(documents))
	s.progress(5 * steady)

	suspects := int64(0)

	for range 3 {
		report := s.verify(0)
		require.Equal(t, "equal", report.Outcome)
		require.Empty(t, report.Differences)
		require.Greater(t, report.Totals.Documents, int64(len(documents)))

		suspects += report.Totals.Suspects

		s.progress(steady)
	}

	s.killedVerify()

	_, err = target.Collection("quiet").UpdateByID(t.Context(), 7, bson.D{{Key: "$set", Value: bson.D{{Key: "stock.count", Value: -1}}}})
	require.NoError(t, err)

	report := s.verify(1)
	require.Equal(t, "different", report.Outcome)
	require.Empty(t, report.Catalog)
	require.Len(t, report.Differences, 1)

	found := report.Differences[0]
	require.Equal(t, s.beside()+".quiet", found.Namespace)
	require.JSONEq(t, `{"$numberInt":"7"}`, string(found.ID))
	require.Equal(t, [3]string{"different", "stock.count", "unexplained"}, [3]string{found.Kind, found.Field, found.Cause})

	s.finish()
	t.Logf("suspects that were in flight: %d", suspects)
}

// killedVerify kills one in its middle and lets another go on from its state.
func (s *scenario) killedVerify() {
	s.t.Helper()

	state := filepath.Join(s.t.TempDir(), "state")
	ctx, kill := context.WithCancel(s.t.Context())
	ended := make(chan harness.Answer, 1)

	go func() {
		answer, _ := s.relay.CtlAnswer(ctx, "verify", "--rate", "20", "--state", state)
		ended <- answer
	}()

	require.Eventually(s.t, func() bool {
		_, err := os.Stat(state)

		return err == nil
	}, patience, 50*time.Millisecond)
	kill()

	require.NotZero(s.t, (<-ended).Code)
	require.FileExists(s.t, state)

	report := s.verify(0, "--resume", "--state", state)
	require.Equal(s.t, "equal", report.Outcome)
	require.NoFileExists(s.t, state)
}

// TestVerifyOfAnIdleFlow: where nothing happens markers alone say that the flow has passed a difference.
func TestVerifyOfAnIdleFlow(t *testing.T) {
	s := open(t)
	source, target := s.world.Source.Client.Database(s.beside()), s.world.Target.Client.Database(s.beside())
	require.NoError(t, source.CreateCollection(t.Context(), "quiet"))
	s.replicate()

	_, err := source.Collection("quiet").InsertOne(t.Context(), bson.D{{Key: "_id", Value: 1}})
	require.NoError(t, err)
	s.await("it is applied", func(sample *relayv1.Stats) bool { return sample.GetProcessedChanges() == 1 })

	_, err = target.Collection("quiet").DeleteOne(t.Context(), bson.D{{Key: "_id", Value: 1}})
	require.NoError(t, err)

	report := s.verify(1)
	require.Len(t, report.Differences, 1)
	require.Equal(t, "missing", report.Differences[0].Kind)
}

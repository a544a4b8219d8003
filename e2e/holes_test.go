package e2e_test

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/atlas-relay/atlas-relay/e2e/harness"
	"github.com/atlas-relay/atlas-relay/e2e/verify/live"
	"github.com/atlas-relay/atlas-relay/pkg/event"
	"github.com/atlas-relay/atlas-relay/pkg/topology"
	relayv1 "github.com/atlas-relay/atlas-relay/proto/relay/v1"
)

// streamDir is where NATS keeps the flow's stream.
func (s *scenario) streamDir() string {
	s.t.Helper()

	found, err := filepath.Glob(filepath.Join(s.world.NATS.Store(), "jetstream", "*", "streams", topology.StreamName("test")))
	require.NoError(s.t, err)
	require.Len(s.t, found, 1)

	return found[0]
}

// whileStopped does something to the files of the stream.
func (s *scenario) whileStopped(do func(dir string)) {
	s.t.Helper()
	require.NoError(s.t, s.world.NATS.Stop(s.t.Context()))
	do(s.streamDir())
	require.NoError(s.t, s.world.NATS.Start())
}

// saveStream copies the stream's files.
func (s *scenario) saveStream() (dir string) {
	s.t.Helper()

	dir = filepath.Join(s.t.TempDir(), "stream")

	s.whileStopped(func(stream string) { require.NoError(s.t, os.CopyFS(dir, os.DirFS(stream))) })

	return dir
}

// restoreStream puts files of earlier in place.
func (s *scenario) restoreStream(dir string) {
	s.t.Helper()

	s.whileStopped(func(stream string) {
		require.NoError(s.t, os.RemoveAll(stream))
		require.NoError(s.t, os.CopyFS(stream, os.DirFS(dir)))
	})
}

// replicateLarge starts with the collection of insertLarge there: its creation is no change of the flow.
func (s *scenario) replicateLarge() {
	s.t.Helper()
	require.NoError(s.t, s.source().CreateCollection(s.t.Context(), "large"))
	s.replicate()
}

// insertLarge inserts documents that fill several blocks of the stream.
func (s *scenario) insertLarge(from, to int) {
	s.t.Helper()

	for i := from; i < to; i++ {
		_, err := s.source().Collection("large").InsertOne(s.t.Context(), bson.D{{Key: "_id", Value: i}, {Key: "b", Value: bytes.Repeat([]byte{byte(i)}, 256<<10)}})
		require.NoError(s.t, err)
	}
}

// applied waits until exactly so many changes are applied, once each, and both sides are equal.
func (s *scenario) applied(changes uint64) {
	s.t.Helper()

	sample := s.await("everything applied", harness.Applied(changes))
	require.NoError(s.t, live.Counters(sample, changes, 0))
	s.equal()
}

// awaitReason waits until the status is this and says so; terminal states too.
func (s *scenario) awaitReason(status relayv1.Status, says ...string) {
	s.t.Helper()

	ctx, cancel := context.WithTimeout(s.t.Context(), patience)
	defer cancel()

	last := ""
	err := harness.Await(ctx, 200*time.Millisecond, func(ctx context.Context) (bool, error) {
		sample, err := s.relay.Sample(ctx)
		if err != nil {
			return false, nil //nolint:nilerr // asked again
		}

		last = sample.GetStatus().String() + " " + strings.Join(sample.GetReasons(), "\n") + "\n" + sample.GetNextStep()
		missing := slices.ContainsFunc(says, func(text string) bool { return !strings.Contains(last, text) })

		return sample.GetStatus() == status && !missing, nil
	})
	require.NoError(s.t, err, "%s", last)
}

// TestHoleAmidTheStreamHeals: a block file is gone before its events were applied.
func TestHoleAmidTheStreamHeals(t *testing.T) {
	s := open(t)
	s.replicateLarge()
	s.insertLarge(0, 10)
	s.applied(10)

	require.NoError(t, s.relay.Scale(t.Context(), 0))
	s.insertLarge(10, 110)
	s.await("everything published", harness.Captured(110))

	s.whileStopped(func(dir string) {
		blocks, err := filepath.Glob(filepath.Join(dir, "msgs", "*.blk"))
		require.NoError(t, err)
		require.Greater(t, len(blocks), 2)
		slices.SortFunc(blocks, func(a, b string) int { return len(a) - len(b) + strings.Compare(a, b) })
		require.NoError(t, os.Remove(blocks[len(blocks)/2]))
		require.NoError(t, os.Remove(filepath.Join(dir, "msgs", "index.db")))
	})

	require.NoError(t, s.relay.Scale(t.Context(), 1))
	s.applied(110)
	s.insertLarge(110, 120)
	s.applied(120)
	require.Contains(t, readLog(t, s.relay.Listener), "rewinding the stream")
}

func readLog(t *testing.T, service *harness.Service) string {
	t.Helper()

	log, err := os.ReadFile(service.LogFile())
	require.NoError(t, err)

	return string(log)
}

// TestStreamSetBackHeals: what was published and applied since the copy is gone from the stream, again and again, while
// the source is written to. Nothing is lost, nothing is applied twice.
func TestStreamSetBackHeals(t *testing.T) {
	s := open(t)
	s.write()

	for range rounds {
		s.progress(steady)
		saved := s.saveStream()
		s.progress(3 * steady)
		s.restoreStream(saved)
	}

	s.progress(steady)
	s.finish()
}

// TestStreamMadeAnew is a terminal state that says so: nobody goes on from now.
func TestStreamMadeAnew(t *testing.T) {
	s := open(t)
	s.replicateLarge()
	s.insertLarge(0, 5)
	s.applied(5)

	nc, js, err := s.world.NATS.JetStream()
	require.NoError(t, err)

	defer nc.Close()

	live, err := topology.Open(t.Context(), js, "test")
	require.NoError(t, err)
	require.NoError(t, js.DeleteStream(t.Context(), live.Name()))
	s.awaitReason(relayv1.Status_STATUS_DOWN, "there is no stream", "restore")

	settings := live.Settings
	settings.StreamID = topology.NewStreamID()
	_, err = topology.Create(t.Context(), js, "test", settings, 1<<30)
	require.NoError(t, err)

	s.insertLarge(5, 10)
	s.awaitReason(relayv1.Status_STATUS_DOWN, "was there before and is gone")
}

// TestStrangersMessage stops its partition, loudly.
func TestStrangersMessage(t *testing.T) {
	s := open(t)
	s.replicateLarge()
	s.insertLarge(0, 5)
	s.applied(5)

	nc, js, err := s.world.NATS.JetStream()
	require.NoError(t, err)

	defer nc.Close()

	_, err = js.Publish(t.Context(), event.EventSubject("test", 3, event.Namespace{DB: s.db, Coll: "large"}), []byte("hello"))
	require.NoError(t, err)

	s.awaitReason(relayv1.Status_STATUS_DOWN, "somebody else writes to the flow's subjects", "FAILED")
	s.equal()
}

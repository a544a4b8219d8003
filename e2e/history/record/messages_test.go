package record

import (
	"fmt"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/require"

	"github.com/atlas-relay/atlas-relay/e2e/history"
	"github.com/atlas-relay/atlas-relay/pkg/natstest"
)

const patience = time.Minute

// recording is a recorder of messages on a server of its own.
type recording struct {
	t      *testing.T
	server *natstest.Server
	js     jetstream.JetStream
	last   string // id of the last message
	folder string
	stop   chan struct{}
	ended  chan error
	m      *messages
}

func startRecording(t *testing.T) *recording {
	t.Helper()

	r := &recording{t: t, server: natstest.New(t), folder: t.TempDir(), stop: make(chan struct{}), ended: make(chan error, 1)}
	r.js = r.server.JetStream(t)

	_, err := r.js.CreateStream(t.Context(), jetstream.StreamConfig{
		Name: "CDC_test", Subjects: []string{"cdc.test.>"}, Metadata: map[string]string{"relay.partitions": "2"},
	})
	require.NoError(t, err)

	file, err := history.Create[history.Message](r.folder, history.StreamFile)
	require.NoError(t, err)

	r.m = &messages{js: r.server.JetStream(t), stream: "CDC_test", file: file, held: map[uint64]held{}, info: func(*jetstream.StreamInfo) {}}

	go func() { r.ended <- r.m.run(t.Context(), r.stop) }()

	return r
}

// publish adds messages, each of which names the one before it.
func (r *recording) publish(n int, name string) {
	r.t.Helper()

	for i := range n {
		msg := nats.NewMsg("cdc.test.m")
		msg.Data = []byte("four")
		id := fmt.Sprintf("%s-%d", name, i)
		msg.Header.Set(jetstream.MsgIDHeader, id)

		if r.last != "" {
			msg.Header.Set(jetstream.ExpectedLastMsgIDHeader, r.last)
		}

		require.Eventually(r.t, func() bool {
			_, err := r.js.PublishMsg(r.t.Context(), msg)

			return err == nil
		}, patience, 10*time.Millisecond)

		r.last = id
	}
}

// finish returns what was recorded.
func (r *recording) finish() (ids []string, sequences []uint64) {
	r.t.Helper()

	close(r.stop)
	require.NoError(r.t, <-r.ended)
	require.NoError(r.t, r.m.file.Close())
	require.NoError(r.t, history.Each(r.folder, history.StreamFile, func(m *history.Message) error {
		require.Equal(r.t, 4, m.Size)
		require.NotContains(r.t, m.Header, sizeHeader)

		ids, sequences = append(ids, m.Header[jetstream.MsgIDHeader]), append(sequences, m.Sequence)

		return nil
	}))

	return ids, sequences
}

// recorded waits until this many messages are in the file's buffer.
func (r *recording) recorded(n uint64) {
	r.t.Helper()
	require.Eventually(r.t, func() bool { return r.m.at.Load() >= n }, patience, 10*time.Millisecond)
}

// requireUnreadPurge purges before a message, and goes on recording: the record is not whole.
func (r *recording) requireUnreadPurge(keepFrom uint64) {
	r.t.Helper()

	stream, err := r.js.Stream(r.t.Context(), "CDC_test")
	require.NoError(r.t, err)
	require.NoError(r.t, stream.Purge(r.t.Context(), jetstream.WithPurgeSequence(keepFrom)))
	require.ErrorIs(r.t, r.m.run(r.t.Context(), make(chan struct{})), errPurged)

	_, more := (&Recorder{messages: r.m}).Recorded()
	require.False(r.t, more, "whoever waits for the record need not")
}

// TestMessagesAreRecordedAcrossRestarts once each, in order.
func TestMessagesAreRecordedAcrossRestarts(t *testing.T) {
	t.Parallel()

	r := startRecording(t)

	for round := range 3 {
		r.publish(50, fmt.Sprintf("round%d", round))
		r.recorded(uint64(50*round + 25))
		r.server.Restart(t)
	}

	r.publish(10, "end")

	ids, sequences := r.finish()
	require.Len(t, ids, 160)

	for i, sequence := range sequences {
		require.Equal(t, uint64(i+1), sequence)
	}
}

// TestAStreamThatNeverWasIsAnError: nobody waits for it for ever.
func TestAStreamThatNeverWasIsAnError(t *testing.T) {
	t.Parallel()

	r := startRecording(t)
	close(r.stop)
	require.NoError(t, <-r.ended)

	r.m.stream, r.stop = "CDC_other", make(chan struct{})

	go func() { r.ended <- r.m.run(t.Context(), r.stop) }()

	close(r.stop)
	require.ErrorIs(t, <-r.ended, jetstream.ErrStreamNotFound)
}

// TestWhatIsPurgedUnreadIsNoHole: a record that lacks it is not whole, and nobody may judge by it.
func TestWhatIsPurgedUnreadIsNoHole(t *testing.T) {
	t.Parallel()

	r := startRecording(t)
	r.publish(10, "recorded")
	r.recorded(10)
	close(r.stop)
	require.NoError(t, <-r.ended)

	r.publish(20, "unread")

	r.requireUnreadPurge(21)
}

// TestWhatTookTheLostEndsPlaceAndIsPurgedUnreadIsNoHole: what was recorded under those sequences is not what was purged.
func TestWhatTookTheLostEndsPlaceAndIsPurgedUnreadIsNoHole(t *testing.T) {
	t.Parallel()

	r := startRecording(t)
	r.publish(10, "kept")
	r.lose(func() {
		r.publish(5, "lost")
		r.recorded(15)
		close(r.stop)
		require.NoError(t, <-r.ended)
	})
	r.publish(6, "new")

	r.requireUnreadPurge(14)
}

// TestALostEndIsRecorded with what took its place.
func TestALostEndIsRecorded(t *testing.T) {
	t.Parallel()

	r := startRecording(t)
	r.publish(20, "kept")
	r.recorded(20)
	r.lose(func() {
		r.publish(5, "lost")
		r.recorded(25)
	})
	r.publish(8, "new")

	ids, sequences := r.finish()
	require.Equal(t, []string{"lost-4", "new-0", "new-1"}, ids[24:27])
	require.Equal(t, []uint64{25, 21, 22}, sequences[24:27])
	require.Len(t, ids, 33)
}

// TestALostEndIsRecordedThoughItEndsAlike: in another order, as where a listener has put a marker elsewhere. Behind the
// difference the messages have the ids and sequences that they had before.
func TestALostEndIsRecordedThoughItEndsAlike(t *testing.T) {
	t.Parallel()

	r := startRecording(t)
	r.publish(20, "kept")
	r.recorded(20)
	r.lose(func() {
		r.publish(1, "marker")
		r.publish(1, "change")
		r.publish(3, "alike")
		r.recorded(25)
	})
	r.publish(1, "change")
	r.publish(1, "marker")
	r.publish(3, "alike")

	ids, sequences := r.finish()
	require.Equal(t, []string{"marker-0", "change-0", "alike-0", "alike-1", "alike-2", "change-0", "marker-0", "alike-0"}, ids[20:28])
	require.Equal(t, []uint64{21, 22}, sequences[25:27])
	require.Len(t, ids, 30)
}

// lose has the stream forget what happens meanwhile.
func (r *recording) lose(meanwhile func()) {
	r.t.Helper()

	before, kept := r.t.TempDir(), r.last

	require.NoError(r.t, r.server.Backup(before))
	meanwhile()
	require.NoError(r.t, r.server.Restore(before))

	r.last = kept
}

package chain

import (
	"math/rand/v2"
	"slices"
	"strconv"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/atlas-relay/atlas-relay/pkg/event"
)

// Headers of the server's atomic batches (ADR-50 of NATS).
const (
	headerBatchID       = "Nats-Batch-Id" // at most 64 bytes
	headerBatchSequence = "Nats-Batch-Sequence"
	headerBatchCommit   = "Nats-Batch-Commit"
)

// atomicBatches is the mode in which messages go out in atomic batches, one at a
// time. The first message of each names the stream's last sequence, which only
// the leader checks, before it proposes the batch to its replicas. Which
// messages make a batch is decided by Batches.
type atomicBatches struct {
	Batches

	wire    *wire
	id      string      // prefix of the batches' ids, unique to this publisher
	waiting []*nats.Msg // not sent yet, oldest first
}

func newAtomicBatches(w *wire) *atomicBatches {
	return &atomicBatches{wire: w, id: strconv.FormatUint(rand.Uint64(), 36)} //nolint:gosec // it tells batches apart
}

func (a *atomicBatches) Publish(now time.Time, m *event.Message, _ bool) error {
	msg := event.Encode(a.wire.flow, m, "")
	a.waiting = append(a.waiting, msg)
	a.Add(msg.Size(), m.EndsEvent())

	return a.flush(now)
}

func (a *atomicBatches) acked(now time.Time, _ uint64) error {
	a.Acked()

	return a.flush(now)
}

// staged implements mode: all of a batch but its last message is.
func (a *atomicBatches) staged(number uint64) bool { return number < a.Sent() }

// flush sends the next batch if it is time. A reply to its last message says
// that all of it is stored. One to the first says why the server takes no batch;
// without it the last one would only be told that the batch is incomplete.
func (a *atomicBatches) flush(now time.Time) error {
	before := a.Sent()

	n := a.Next(now)
	if n == 0 {
		return nil
	}

	batch := a.waiting[:n]
	batch[0].Header.Set(jetstream.ExpectedLastSeqHeader, strconv.FormatUint(a.wire.base+before, 10))

	for i, msg := range batch {
		if n > 1 { // a lone message is a plain publish: the server need not stage it
			a.label(msg, before, i+1, n)
		}

		if err := a.wire.send(msg, before+uint64(i)+1, i == 0 || i == n-1); err != nil {
			return err
		}
	}

	a.waiting = slices.Delete(a.waiting, 0, n) // it clears what it frees: an event may be 16 MiB

	return nil
}

// label makes msg the given one of n of a batch.
func (a *atomicBatches) label(msg *nats.Msg, before uint64, number, n int) {
	msg.Header.Set(headerBatchID, a.id+"."+strconv.FormatUint(before, 10))
	msg.Header.Set(headerBatchSequence, strconv.Itoa(number))

	if number == n {
		msg.Header.Set(headerBatchCommit, "1")
	}
}

// Package chain writes the flow's stream: it numbers events, makes their
// messages follow each other without a hole, and finds where to go on after
// anything went wrong.
//
// # The promise
//
// The stream's last message is the listener's checkpoint. Nothing else
// remembers a position, so nothing can disagree with the stream: every message
// carries the resume token that leads to what comes after it, and the running
// numbers of the flow.
//
//	    tail                    in flight (window)
//	┌────────┐   ┌────────┐   ┌────────┐   ┌────────┐
//	│ id a   │◀──│ after a│◀──│ after b│◀──│ after c│
//	│ token 7│   │ id b   │   │ id c   │   │ id d   │◀── reply asked here
//	└────────┘   └────────┘   └────────┘   └────────┘
//
// Each message names the id of the one before it (Nats-Expected-Last-Msg-Id),
// and the server refuses one that does not follow its last. So the PubAck of d
// proves a to d: stored, in order, no hole, no duplicate, nobody in between.
// Replies are therefore rare. Whatever else happens, an error, a timeout, a
// disconnect, a refusal, a PubAck that says duplicate, has one answer: drop
// everything, read the tail, resume the change stream after its token.
//
// Pipelined Nats-Expected-Last-Sequence is faster and was rejected: two
// listeners whose numbering differs by one left a hole or a duplicate in 8 of
// 12 runs.
//
// # Batches instead of the chain
//
// A stream with replicas must not use the id chain on nats-server 2.15: the
// server checks it at apply on every replica, a follower that caught up does not
// know the last id, and one refused message stops the stream for good. Such a
// stream is made with publish mode batch: messages go out in atomic batches, one
// at a time, and the first of a batch names the sequence of the stream's last
// message, which the leader checks before it proposes the batch to anybody.
//
//	tail 7      in flight              waiting
//	┌─────┐   ┌────────────────┐     ┌─────────────────────┐
//	│ ... │◀──│ after 7: 8 9 10│     │ after 10: 11 12 ... │ goes when 10 is acked
//	└─────┘   └────────────────┘     └─────────────────────┘
//
// A batch is stored whole or not at all, so its PubAck proves what the chain's
// proves. Everything else is the same: ledger, tail, the one recovery. What a
// batch cannot do: see through a stream that lost its tail and grew again to the
// very length that an unbroken listener expects. Losing a tail breaks that
// listener's connection, and the readers' checks of count and position are loud.
//
// # The parts
//
// Ledger (numbers and messages), Window (chain: what is proven, when to ask) and
// Batches (batch: what goes out together, and when) are state machines without
// I/O. Publisher connects them to NATS in the mode of the stream, ReadTail reads
// the checkpoint. Who has a single message to publish beside a Publisher uses
// topology.Stream.PublishAfter.
package chain

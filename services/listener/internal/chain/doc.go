// Package chain writes the flow's stream: it numbers events, links their
// messages into the id chain, and finds where to go on after anything went
// wrong.
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
// 12 runs. Replicated streams must not use the id chain on nats-server 2.15:
// the check runs at apply on every replica, and a follower that caught up does
// not know the last id.
//
// # The parts
//
// Ledger (numbers and messages) and Window (what is proven, when to ask) are
// state machines without I/O. Publisher connects them to NATS, ReadTail reads
// the checkpoint.
package chain

// Package leader decides which of a flow's listeners publishes, by a lease: key
// l.<flow> of the bucket RELAY_OWNERS.
//
//	candidate ──lease granted──▶ leader ──lease ended──▶ candidate
//	    ▲                          │
//	    │                          ├─ beaten: another one took the stream's tail
//	    │                          ├─ hopeless: an operator has to act
//	    │                          └─ starved: the source is away for a TTL
//	    └──────a while later────────────┘
//
// Nothing that must be right depends on the lease. The id chain refuses what does
// not follow the stream's tail, so two listeners that both believe to lead, because
// one was suspended or the bucket was made anew, lose nothing and repeat nothing;
// the lease keeps them from working in vain. That is why a leader goes on until its
// lease has ended by its own clock, even while the bucket does not answer: most
// outages are shorter than that, and stopping earlier would protect nothing.
//
// After it, a listener waits for the bucket and does not publish without a lease:
// two of them would do so, and chase each other off the tail for as long as the
// bucket is away. The changes wait in the source's oplog meanwhile.
//
// [Candidate] is the state machine, without I/O and clock; [Leader] connects it to
// the bucket.
package leader

// Package ownership owns partitions: it takes them in the target's checkpoints,
// drives reading, batching and applying of each, and gives them back.
//
//	ACQUIRING ──▶ APPLYING ◀──▶ PAUSED      target or NATS is away, or there is no room to park
//	    ▲            │   │
//	    └── reset ───┘   ├────▶ FAILED      an operator decides
//	                     └────▶ DRAINING    told to stop
//
// Who owns a partition is decided by its checkpoint document alone: an epoch
// that only grows, and the owner's random number. Every transaction names both,
// so an owner that lost its partition, for whatever reason it did not notice,
// commits nothing.
package ownership

// Package ownership owns partitions: it finds out which of them are this
// processor's share, takes them, drives reading, batching and applying of each,
// and gives them back.
//
// # Who should own a partition
//
// Every processor announces itself with a key in the bucket RELAY_OWNERS and
// watches the keys of all. From the members alone each computes the same wanted
// owner of every partition (wanted), and brings about its own part of it (table):
//
//	members ──▶ wanted ──▶ not mine any more: drain, release the lease
//	                  └──▶ mine: acquire the lease once it is free
//
// A lease is a key with a TTL: whoever is killed, frozen or cut off loses its
// partitions after LEASE_TTL, and has stopped writing before that.
//
// # Who owns it
//
//	ACQUIRING ──▶ APPLYING ◀──▶ PAUSED      target or NATS is away, there is no room to park, or a person wants it so
//	    ▲            │   │
//	    └── reset ───┘   ├────▶ FAILED      an operator decides
//	                     └────▶ DRAINING    told to give it back
//
// That is decided by the checkpoint document alone: an epoch that only grows, and
// the owner's random number. Every transaction names both, so an owner that lost
// its partition, for whatever reason it did not notice, commits nothing: it
// notices then, and gives the partition up. Leases only keep processors out of
// each other's way; nothing that must be right depends on them.
package ownership

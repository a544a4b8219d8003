// Package apply writes batches to the target.
//
// # The promise
//
// A partition's checkpoint and the writes of its batch commit in one
// transaction, and only for the owner that committed the one before.
//
//	┌ transaction ────────────────────────────────────────────┐
//	│ checkpoint  {_id, epoch, owner, sequence, commits: n}   │ ── matches nothing: abort
//	│             → sequence, commits: n+1, counters          │
//	│ writes of the batch                                     │ ── fewer matched than sent: abort
//	└──────────────────────── commit, majority ───────────────┘ ── unknown: read the checkpoint, Judge
//	                                │
//	                                ▼
//	                     ack of the last message
//
// So a batch is applied once, whoever is killed and whatever reply is lost: the
// checkpoint says whether it is in, exactly, because every transaction changes
// it. The checkpoint's update is the first statement, so that a change stream
// of the target shows whose transaction the data behind it belongs to.
//
// What matched is counted, because a delta on a document that is missing would
// otherwise be a silent no-op. A delta is never an upsert.
package apply

// Package schema makes the source's schema changes on the target.
//
//	event ── Parse ──▶ Change ── Prepare ──▶ what is there before, stored by the caller
//	                             Execute ──▶ the command, once or twice with one effect
//
// A schema change cannot be in a transaction with the checkpoint. So it may run
// twice: by an owner that died before its checkpoint, and by the next one. What
// was there before the first command, stored before it, lets the second run see
// that the first one had its effect: the collection to drop is gone or is another
// one, the collection to rename has the other name already.
//
// Something there that is not what the source has is never overwritten: a
// *ConflictError names both definitions.
package schema

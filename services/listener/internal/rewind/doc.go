// Package rewind finds out that the stream lacks messages, and decides where it
// has to be published anew from.
//
// NATS acknowledges before it syncs to disk, disks rot, and streams are restored
// from backups: what was stored may be gone, at the tail, at the head or amid. A
// lost tail is published again by itself, from the new one. Anything else is
// healed by a rewind: a new generation of the stream, which begins at the lowest
// of all checkpoints. So it needs the checkpoints of all partitions, which their
// owners report; and an owner recognises what it has applied by its position.
//
// Watch is a state machine without I/O; topology.LookForDamage and Reports ask
// NATS for what it needs.
package rewind

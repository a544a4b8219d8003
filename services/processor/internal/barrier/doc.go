// Package barrier decides when a schema change may run and who may go on behind it.
//
// A schema change stands in every partition at the same place of the source's order: its barrier. Partition 0 carries
// the change itself, the others a copy.
//
//	partition 5   ──data──▶ │ arrived ······························ │ pass ──data──▶
//	partition 9   ──data──▶ │        arrived ······················· │ pass ──data──▶
//	partition 0   ──data──▶ │   claim ─▶ look again ─▶ run ─▶ commit ┘
//
// Everybody acts upon a View of the target, again and again; nothing else is remembered. So whoever crashes, freezes or
// loses a partition at any step leaves nothing behind that the next one would have to know.
//
// # Why no command hits data that is still to come, or that belongs behind it
//
// A partition arrives when everything before the barrier is committed, and then tries nothing parked. An arrival counts
// only while its epoch is the one in the partition's checkpoint: an owner that has come since may try what is parked.
// Whoever acquires a partition raises the epoch first and then looks which barrier is executed (Holds). The executor
// writes that first (Claim) and then looks at the epochs. So of the two at least one sees the other: an executor that
// sees a new epoch waits for its arrival, and an owner that sees the barrier tries nothing until it has passed it. Data
// needs no such care: the next message of a partition that has arrived is the barrier, whoever reads it.
//
// A target that is restored from a backup loses commits. An arrival therefore says how many there were: it counts only on
// a target that has them. Whoever stands at a barrier and sees fewer of its own acquires the partition again, from what
// the checkpoint is now. Whoever has gone on behind a barrier, which by itself is no commit, makes its next one only on a
// target where partition 0 is behind that barrier, too; and partition 0 only on one that has its claim. What a backup from
// between a claim and its command holds cannot be told from a command that was made: such a restore is not seen.
//
// The checkpoint of partition 0 releases the others. One that is beyond the barrier without having met it releases them
// too: the barrier is void, as the listener did not finish it and may not publish it again. So does partition 0 when it
// stands at a later one, where its checkpoint cannot come: it would wait for them, and they for it.
//
// Places are compared by position, never by event number: positions go on when a stream is made anew.
package barrier

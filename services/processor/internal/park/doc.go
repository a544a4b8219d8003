// Package park decides about the events of one partition that are set aside: which are to wait behind another, which to
// be tried now, which are given up, and when the source has to be asked.
//
// It does no I/O and reads no clock: time, what the target said and what the source answered come in; lots come out. A
// lot is what one transaction does to events, of a batch or of the parked ones. Nothing in memory changes before the lot
// is committed, so a lot that never commits never was.
//
//	             ┌─ its document is marked or has events waiting ─▶ Follow ─┐
//	batch event ─┼─ read from the source again since ─────────────▶ Skip    ▼
//	             └─ else ─▶ Apply ── the target refuses it ──▶ Refuse ─▶ a record
//	                                                                       │
//	   ┌── success: the record ends, the next of the document is tried ◀── try, when due
//	   │                                                                   │
//	   │   failed     counted, tried again by the schedule, at last dead ◀─┤
//	   │   conflict   tried soon; counted once nobody else can free it   ◀─┤
//	   └── unfitting  the source's document is asked for, and replaces it ◀┘
//
// Order: a document's events are applied in their order, or not at all because a full image, a delete or an image of the
// source covers them. So a full image may be tried before what waits in front of it; a delta never.
//
// Much behind one document: so many events are kept, of later ones only a run, which is one record that counts them. A
// document with a run is not tried any more but replaced by the source's, which ends all that its image holds; where
// nobody answers it waits. A run ends as a whole, so its events are counted once, as whatever it ends as.
//
// Memory holds a header of each record, never its event.
package park

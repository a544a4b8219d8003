// Package routing is the flow's routing table: which collections go through one
// partition as a whole (are pinned), and which.
//
// A document's changes usually find their partition by its _id. That is wrong for
// two kinds of collections: in a capped one the order of insertion counts, and
// under a default collation documents may be one although their _ids differ. All
// their events go through one partition, in the source's order.
//
// The table is part of the stream, because the way of an event must be the same
// whenever it is published, and whoever publishes it. It is first made from the
// source's catalog by relayctl flow init, stands in message 1 and in every marker,
// and is changed by the schema changes of the source in their exact place.
// A listener that restarts takes it from the last marker and the schema changes
// behind it, never from the source's catalog: that is of another time.
//
//	message 1 ── events ── create c, capped ── marker ── events of c ── drop c
//	{}                     {c → 5}             {c → 5}   all in 5       {}
//
// The catalog at the beginning is newer than the token it is paired with, so some
// schema changes come although their effect is in the table already. Collections
// are therefore known by their UUID first and by name only where an event has
// none: the change then finds what it would make.
//
// What was dropped is remembered by its UUID, the last of it: a rewind reads the source's
// history from an earlier place on, where the stream may have no marker of that time any
// more. The events of such a collection then go the way that they went. And a table that is
// of later (IsOf) takes no collection for the one that has its name by then.
package routing

// Package flow makes, shows and removes a flow: its stream, its buckets, its
// keys, and what the target remembers of it.
//
// Init is idempotent, and its order is what makes a crash harmless:
//
//	1  the stream has a message     compare, make lost buckets again; ask nobody else
//	2  the target has checkpoints   refused: they belong to a stream that is gone
//	3  catalog of the source        once before and once after 4: equal, or refused (DDL=on)
//	4  resume token of the source   before 5, so that no document falls between
//	5  existing documents; without DDL capped collections and collations, too: refused by name
//	6  definitions on the target    made where missing, refused where they differ (DDL=on)
//	7  create the stream            the token stands in its metadata
//	8  message 1                    with the routing table of the catalog; a crash between
//	                                7 and 8 goes on here
//
// What changes a flow is in the audit of its target (package audit): begun before
// the first change, ended after the last. Where the target is away nothing begins.
//
// Errors are of three kinds, told apart by their exit code: refused (2), a
// server that cannot be reached (3), everything else (1).
package flow

// Package refetch answers processors that ask for a document as the source has it now.
//
// It subscribes while this listener is the active one, so that standbys stay silent. Whoever answers, the answer is
// right: T comes from the source, not from what this listener has read.
//
//	request ──▶ intake ──▶ 16 places ──▶ 4 workers ──▶ T, then the document ──▶ parts
//	              │ full: "busy"            │ nobody waits any more: nothing
//
// # The promise
//
// Every change of the document with a cluster time up to T is in the image. T is the operation time of a majority
// read, taken before the document is read with majority and afterClusterTime T. It holds on a secondary (it waits
// until it has T), on an old primary (it cannot confirm a later T) and behind a mongos (T is the latest of the shards
// asked, and each of them waits until it has T; what moves between shards afterwards follows in the stream).
package refetch

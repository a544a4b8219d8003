// Package history watches how long the source still has what the stream does
// not: the time until the source's oplog has passed the stream's tail, after
// which nothing could be resumed.
//
//	window     the tail's time − the time of the oplog's oldest entry, both by
//	           the source's clock. While the listener keeps up it is how far
//	           back the oplog reaches.
//	rate       seconds that the oldest entry advances per second, from its first
//	           observed move to its last: mongod frees the oplog in steps of
//	           about a hundredth, so the first step says nothing of how long it
//	           took. Never taken below 1: an oplog is bounded by its size, and a
//	           quiet hour is no promise.
//	remaining  window / rate: what is left if the listener could not go on from
//	           now. It is 0 when the oplog has passed the tail.
//	trend      STILL while the oldest entry does not move: the oplog is not full
//	           yet, the source forgets nothing, and remaining is the window, of
//	           which it will be at least so much. SHRINKING when the window has
//	           lost more than a twentieth, and a minute, within the horizon.
//	           STEADY otherwise.
//
// Whatever is not known is absent with its reason, never 0.
package history

// Package capture moves the source's changes into the stream: read, filter,
// number, publish.
//
// # The promise
//
// Every event of the source after message 1 that the filter takes is in the
// stream exactly once, in the source's order, or the listener says loudly why
// not. It never continues "from now".
//
//	source ──▶ reader ──▶ filter ──▶ chain.Ledger ──▶ chain.Publisher ──▶ stream
//	             ▲                                                          │
//	             └────────── resume after the tail's token ◀── any trouble ─┘
//
// There is one recovery path. Whatever goes wrong on either side ends the
// session; the next one reads the stream's tail and resumes the change stream
// after its token. What was read and not stored is read again; what was stored
// although its reply was lost is found at the tail.
//
// All of it is done by the active listener of the flow alone, by a lease (package
// leader); the others stand by. Nothing depends on there being only one: what is
// published behind a tail that is no longer the tail is refused.
//
// Filtering happens here and not in the server's pipeline, because a change of
// the filter would make the tokens of events invalid there (error 280).
package capture

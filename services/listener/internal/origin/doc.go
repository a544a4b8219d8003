// Package origin tells the changes that another flow's processor made at the
// source from those that people made, so that two flows in opposite directions
// do not echo.
//
// A processor's transaction begins with the update of a checkpoint, whatever
// else it holds. So its events stand in the source's change stream like this,
// all with the same lsid and txnNumber, which only the events of transactions
// have:
//
//	atlas_relay.checkpoints  _id "b-to-a/03"   ── names the flow
//	shop.orders              _id 17            ── skipped, if b-to-a is
//	shop.items               _id 4             ── skipped
//
// Transactions of flows that are not to be skipped pass, which makes chains and
// hubs.
//
// # Where a session may begin
//
// A session that began between the checkpoint's event and the rest would take
// the rest for anybody's. A replica set gives the events of one transaction
// without others in between, and of a skipped one nothing is published, so the
// stream's tail can lie within it only as a marker. Markers therefore wait for
// the transaction's end (Within): then every token in the stream, and every
// checkpoint and rewind that is made from one, is a place to begin. Should a
// server answer a token without an event in the middle of a transaction, which
// mongod does not, the marker still carries the transaction (Open).
//
// # Others in between
//
// The Rust stand-in of the tests mixes the events of a transaction with those of
// other writers, as a mongos does. While a session lasts, the lsid and txnNumber of each
// session's latest skipped transaction are kept, and no event of it passes. For a
// session that began in the middle, each processor leaves the id of the session
// that its transactions run in at its target (checkpoint.RememberSession), before
// the first of them: whatever is in a transaction of that session is that flow's
// (Know).
//
// A sharded source is refused all the same until it was tried, and a write to a
// capped collection is in no transaction: see capture.
package origin

package show

import relayv1 "github.com/atlas-relay/atlas-relay/proto/relay/v1"

// The words of the table of numbers, for who shows them elsewhere.

// Absent stands for what is unknown.
const Absent = absent

// StatusWord is the answer to "is it fine?".
func StatusWord(s relayv1.Status) string { return word(s, false) }

// Number is a number, or the mark of one that is unknown.
func Number(n *uint64) string { return number(n) }

// Sum is the verdict on total = processed + failed + skipped + pending.
func Sum(s *relayv1.Stats) string { return sum(s) }

// History is for how long the source keeps what the stream does not have.
func History(s *relayv1.Stats) string { return history(s) }

// InWork is how many changes are in batches.
func InWork(s *relayv1.Stats) string { return inWork(s) }

// Batch is how many changes of a partition are in batches.
func Batch(p *relayv1.PartitionStats) string { return batch(p) }

// Stream is how full the stream is.
func Stream(s *relayv1.Stats) string {
	if s.GetStream() == nil {
		return absent
	}

	return size(s.GetStream().GetBytes()) + limit(s.GetStream().GetMaxBytes())
}

// Namespace is db.coll, or db.
func Namespace(ns *relayv1.Namespace) string { return namespace(ns) }

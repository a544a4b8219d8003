// Package janitor purges what every partition has applied from the head of the
// flow's stream, so that a full stream gets room again.
//
// Decide is the rule, without I/O: from the stream's figures and the processors'
// reports to the first sequence that is kept. Janitor reads the one and the
// other and sends the purge. It publishes nothing: a full stream would refuse.
//
//	kept   the last margin of messages before the lowest checkpoint: a target
//	       that is set back by so much finds what it lost in the stream
//	kept   the newest marker and everything behind it: without a marker neither
//	       a listener nor an owner knows the counts of idle partitions
//
// A partition of which nothing certain is known forbids purging altogether.
// What is parked never does: it is in the target.
package janitor

// Package verify compares the source and the target of a flow, document by document and byte by byte, while changes flow.
//
//	source ──cursor in the order of _id──┐
//	                                     ├─ merge ──▶ suspects ──▶ settle ──▶ differences
//	target ──cursor in the order of _id──┘               │            ▲
//	                                                     └── wait ────┘   until the flow has applied what the source had
//
// Both sides are read once, each in the order that the server has, and nothing is decoded where the bytes are equal. What
// is not equal then may be in flight: it is a suspect, and a difference only when it is found again after the flow has
// passed a time at which the source had what it still has (Rechecks). A suspect about which that cannot be told, because
// the flow stands still or the document never does, is reported as not settled.
//
// Nothing is written to either side. Memory does not depend on the number of documents, and hardly on their size: a side
// of a range holds a reply, 1 MiB as a rule and 16 MiB where documents are large; of those one range is read at a time.
package verify

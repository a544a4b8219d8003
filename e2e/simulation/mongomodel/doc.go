// Package mongomodel is a target in memory: documents, a validator and a unique index,
// transactions that conflict, can be left open and may end unknown to who made them,
// and a restore to the past.
//
// It is deterministic and has no goroutine and no clock of its own: the Link of a
// Client says when a request arrives and whether its answer does. The tests run one
// suite against this model and against a real server.
package mongomodel

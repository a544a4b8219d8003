// Package natsmodel is a NATS server in memory, as far as the relay uses one: the flow's
// stream with what its publishers expect of it, its consumers, and buckets whose keys
// have a TTL.
//
// It is deterministic and has no goroutine and no clock of its own: the Network of a
// Client says when a request arrives and whether its answer does. The tests run one
// suite against this model and against a real server; whatever the relay is taught about
// servers is taught to both.
package natsmodel

package natstest

import "go.uber.org/goleak"

// Abandoned makes goleak pass over what a stopped server may still hold of an atomic batch: a message of it that is read
// while the server stops opens a store for the batch, which only the batch's time-out closes again, 10 s later (stream.go,
// deleteAtomicBatches, and jetstream_batching.go, newBatchStore, of nats-server 2.15). A server that was not stopped is
// found all the same, by its other goroutines.
func Abandoned() []goleak.Option {
	const server = "github.com/nats-io/nats-server/v2/server"

	return []goleak.Option{
		goleak.IgnoreTopFunction(server + ".(*msgBlock).flushLoop"),
		goleak.IgnoreTopFunction(server + ".(*fileStore).flushStreamStateLoop"),
		goleak.IgnoreTopFunction(server + "/ats.Register.func1"),
	}
}

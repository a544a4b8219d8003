// Package simulation runs the whole flow in one thread, with time and servers of its own:
// a source, the listener's cores, NATS, the processor's cores, a target. A seed decides the
// source's changes, the faults, and how long everything takes; the same seed gives the same
// run, step by step.
//
//	source ──▶ listener ──▶ natsmodel ──▶ processors ──▶ mongomodel
//	              │  stepwise  │  (stream, buckets)  │ stepwise │
//	              └────────────┴── world: agenda, faults, judge ┘
//
// The services' side is that of the services: package stepwise of each wires the code that
// the service itself runs, over interfaces. What of a service is not run: its goroutines and
// timers, the drivers of NATS and MongoDB, pkg/lease, and schema changes (package barrier has
// a simulation of its own). See ADR 34.
//
// A process is a set of tasks. A task runs until it waits for something, and nothing else
// runs meanwhile; so a process can be killed, or frozen, between any two of its requests to a
// server, and between the arrival of a request and that of its answer.
package simulation

// Package permissions tests who may do what at a NATS server with the configuration of deploy/nats: a table of calls says
// which roles may make each, and everybody else is refused. That the services can do all their work with these rights is
// shown in e2e.
package permissions

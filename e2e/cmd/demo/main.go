// Command demo shows the main job on this machine: two MongoDBs, NATS, the services as separate processes, live traffic
// that may be disturbed, and a comparison of source and target, byte by byte.
package main

import "github.com/atlas-relay/atlas-relay/e2e/harness"

func main() { harness.Main("demo", run) }

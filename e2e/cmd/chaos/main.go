// Command chaos runs the relay under load, breaks it, and says what is wrong afterwards: one run for each seed.
package main

import "github.com/atlas-relay/atlas-relay/e2e/harness"

func main() { harness.Main("chaos", run) }

// Command soak runs a flow for hours, breaks a part of it every minute, and says whether source and target are equal in the
// end and whether the processes that lived all the time still use as much as they did.
package main

import "github.com/atlas-relay/atlas-relay/e2e/harness"

func main() { harness.Main("soak", run) }

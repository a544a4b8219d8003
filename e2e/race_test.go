//go:build race

package e2e_test

// buildFlags of the services: when the tests look for races, the services do too.
var buildFlags = []string{"-race"}

//go:build race

package chaos_test

// raceFlags of the services: when the tests look for races, the services do too.
var raceFlags = []string{"-race"}

package mutants

// Read is read of tests that failed.
func Read(output string) (test string, hung bool, cases int) {
	r := read(output, true)

	return r.test, r.hung, r.cases
}

// ReadChaos is readChaos of a command that failed.
func ReadChaos(output string) (wrong, nothing string) {
	r := readChaos(output, false)

	return r.wrong, r.nothing
}

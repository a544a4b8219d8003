package chaos

import "golang.org/x/sys/unix"

// limitFiles has the system refuse what a process writes beyond this many bytes of a file.
func limitFiles(pid int, bytes uint64) error {
	return unix.Prlimit(pid, unix.RLIMIT_FSIZE, &unix.Rlimit{Cur: bytes, Max: unix.RLIM_INFINITY}, nil)
}

// limitable is why limitFiles cannot be had; nil: it can.
func limitable() error { return nil }

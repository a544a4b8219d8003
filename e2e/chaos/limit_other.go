//go:build !linux

package chaos

import "errors"

// limitFiles can only be had on Linux: elsewhere a process limits itself alone.
func limitFiles(int, uint64) error { return errors.ErrUnsupported }

// limitable is why limitFiles cannot be had.
func limitable() error { return limitFiles(0, 0) }

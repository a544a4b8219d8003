//go:build !linux

package chaos

import "errors"

// limitFiles can only be had on Linux: elsewhere a process limits itself alone.
func limitFiles(int, uint64) error { return errors.ErrUnsupported }

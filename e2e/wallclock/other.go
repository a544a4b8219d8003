//go:build !(linux && amd64)

package wallclock

import "time"

// Supported tells whether clocks can be set here.
func Supported() error { return ErrUnsupported }

// Shift can only be had on Linux on amd64.
func Shift(int, time.Duration) error { return ErrUnsupported }

// ShiftStopped can only be had on Linux on amd64.
func ShiftStopped(int, time.Duration) error { return ErrUnsupported }

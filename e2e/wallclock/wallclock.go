// Package wallclock sets the wall clock of one process wrong, and lets its monotonic clock run on: what a host does whose
// clock was set by hand, or that NTP finds an hour off.
//
// A static Go program reads the time from a page that the kernel maps into every process (vdso(7)); no library could be
// put before it. So the function in that page is exchanged, in the one process, by one that asks the kernel and adds the
// offset. The page is the process's own copy from then on. The program is the one that users get: nothing is built
// for it, and whatever else the process holds (a library in C) sees the same time. A process that it starts has the right
// time again.
//
// It needs Linux on amd64, and the right to write to the process's memory, which a parent has: see [Supported].
package wallclock

import (
	"errors"
	"time"
)

// ErrUnsupported says that no clock can be set here.
var ErrUnsupported = errors.New("the clock of another process cannot be set on this system")

// Most is the largest offset, both ways.
const Most = 24 * time.Hour

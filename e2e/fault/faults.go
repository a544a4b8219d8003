package fault

import "time"

// Direction is the way that bytes go.
type Direction int

// The directions, as seen from the proxy.
const (
	ToTarget Direction = iota
	ToClient

	directions = 2
)

// slices a second that a limited line is given out in: short enough not to be seen as bursts.
const slicesPerSecond = 50

// faults is what a proxy does at present. It is a state machine without I/O: next says what becomes of bytes.
type faults struct {
	refuse  bool
	swallow [directions]bool
	delay   [directions]time.Duration
	rate    int                   // bytes a second; 0: no limit
	free    [directions]time.Time // when the limited line has sent what it was given
	left    [directions]int       // bytes that pass before the cut; negative: none is due
}

func noFaults() faults { return faults{left: [directions]int{-1, -1}} }

// step is what to do with the first bytes of some that wait.
type step struct {
	wait time.Duration // do nothing so far; ask again after it
	drop bool          // take all, send nothing
	pass int           // send so many
	cut  bool          // then reset the connection
}

// next decides about n bytes, at least one, that came in at a time.
func (f *faults) next(now, came time.Time, d Direction, n int) step {
	switch wait := f.wait(now, came, d); {
	case f.swallow[d]:
		return step{drop: true}
	case wait > 0:
		return step{wait: wait}
	}

	if f.rate > 0 {
		n = min(n, max(1, f.rate/slicesPerSecond))
	}

	s := step{pass: n}

	if left := f.left[d]; left >= 0 && n >= left {
		s.pass, s.cut = left, true
		f.left[d] = -1
	} else if left >= 0 {
		f.left[d] -= n
	}

	if f.rate > 0 {
		f.free[d] = now.Add(time.Duration(s.pass) * time.Second / time.Duration(f.rate))
	}

	return s
}

func (f *faults) wait(now, came time.Time, d Direction) time.Duration {
	return max(came.Add(f.delay[d]).Sub(now), f.free[d].Sub(now), 0)
}

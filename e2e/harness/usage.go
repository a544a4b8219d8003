package harness

import (
	"bytes"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"
)

// Usage is what a process has used so far. It stays zero on systems without /proc.
type Usage struct {
	CPU        time.Duration // user and system
	PeakMemory int64         // bytes, VmHWM of proc(5)
}

// clockTick is the unit of the times in /proc/<pid>/stat: USER_HZ, 100 on every Linux that Go runs on.
const clockTick = 10 * time.Millisecond

// UsageOf reads the usage of a running process.
func UsageOf(pid int) (Usage, error) {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return Usage{}, fmt.Errorf("read the usage of process %d: %w", pid, err)
	}

	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return Usage{}, fmt.Errorf("read the usage of process %d: %w", pid, err)
	}

	// Fields are counted from behind the name, which may hold blanks: state is the 3rd of proc(5), utime the 14th.
	fields := strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+1:]))

	const utime, stime = 14 - 3, 15 - 3
	if len(fields) <= stime {
		return Usage{}, fmt.Errorf("read the usage of process %d: %q is no stat line", pid, stat)
	}

	var ticks int64

	for _, field := range []string{fields[utime], fields[stime]} {
		n, err := strconv.ParseInt(field, 10, 64)
		if err != nil {
			return Usage{}, fmt.Errorf("read the usage of process %d: %w", pid, err)
		}

		ticks += n
	}

	return Usage{CPU: time.Duration(ticks) * clockTick, PeakMemory: peakMemory(status)}, nil
}

// peakMemory finds the line "VmHWM:   12345 kB".
func peakMemory(status []byte) int64 {
	for line := range strings.Lines(string(status)) {
		if rest, found := strings.CutPrefix(line, "VmHWM:"); found {
			kib, _ := strconv.ParseInt(strings.Fields(rest)[0], 10, 64)

			return kib << 10
		}
	}

	return 0
}

// Usage is the CPU time of all runs of the service, and the highest peak among them, as far as they were observed.
func (s *Service) Usage() Usage {
	s.observe()

	s.mu.Lock()
	defer s.mu.Unlock()

	var total Usage
	for _, seen := range s.seen {
		total.CPU += seen.CPU
		total.PeakMemory = max(total.PeakMemory, seen.PeakMemory)
	}

	return total
}

// observe keeps the usage of the present run: a process that has ended can no longer be asked.
func (s *Service) observe() {
	s.mu.Lock()
	defer s.mu.Unlock()

	if s.proc == nil || !s.proc.running() {
		return
	}

	if usage, err := UsageOf(s.proc.PID()); err == nil {
		s.seen[s.proc.PID()] = usage
	}
}

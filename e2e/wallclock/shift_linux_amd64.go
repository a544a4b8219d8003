package wallclock

import (
	"bytes"
	"debug/elf"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// function is how a program asks for a time.
const function = "__vdso_clock_gettime"

// offsetAt is where the offset is in what stub returns.
const offsetAt = 18

// stub is what stands there instead, without the offset in seconds that follows it:
//
//	mov   eax, 228          clock_gettime; rdi and rsi hold which clock, and where to
//	syscall
//	test  eax, eax
//	jnz   end               the kernel refused
//	test  edi, edi
//	jnz   end               any clock but CLOCK_REALTIME
//	add   qword [rsi], …
//	end:  ret
func stub(by time.Duration) []byte {
	code := []byte{0xb8, 228, 0, 0, 0, 0x0f, 0x05, 0x85, 0xc0, 0x75, 11, 0x85, 0xff, 0x75, 7, 0x48, 0x81, 0x06} // offsetAt bytes
	code = binary.LittleEndian.AppendUint32(code, uint32(int32(by/time.Second)))

	return append(code, 0xc3)
}

// Supported tells whether clocks can be set here: it sets one. A sandbox may forbid to write to another process's memory, and
// a kernel may map no such page.
func Supported() error {
	trial := exec.Command("sleep", "60") //nolint:noctx // it is killed below
	if err := trial.Start(); err != nil {
		return fmt.Errorf("%w: %w", ErrUnsupported, err)
	}

	err := Shift(trial.Process.Pid, time.Hour)
	_ = trial.Process.Kill() // whatever became of it
	_ = trial.Wait()

	if err != nil {
		return fmt.Errorf("%w: %w", ErrUnsupported, err)
	}

	return nil
}

// stopPatience bounds the wait until all threads of a process stand still.
const stopPatience = 10 * time.Second

// Shift makes the wall clock of a running process differ from the right time by this much, whole seconds of at most [Most];
// 0 sets it right. The process stands still for a moment. One that has ended is os.ErrProcessDone.
func Shift(pid int, by time.Duration) (err error) {
	// Nobody may be inside the function while it is exchanged. Who is lets go of it at once, so it is tried again.
	for end := time.Now().Add(stopPatience); ; {
		busy, err := shiftOnce(pid, by)

		switch {
		case err != nil && ended(pid):
			return os.ErrProcessDone
		case err != nil:
			return fmt.Errorf("set the clock of process %d: %w", pid, err)
		case !busy:
			return nil
		case time.Now().After(end):
			return fmt.Errorf("set the clock of process %d: it does nothing but ask for the time", pid)
		}
	}
}

// shiftOnce stops the process for it. A thread that reads the clock just now makes it busy.
func shiftOnce(pid int, by time.Duration) (busy bool, err error) {
	if err := syscall.Kill(pid, syscall.SIGSTOP); err != nil {
		return false, err
	}
	defer func() { err = errors.Join(err, syscall.Kill(pid, syscall.SIGCONT)) }()

	at, err := standstill(pid)
	if err != nil {
		return false, err
	}

	// Only now: one that was just being started has no memory to speak of before.
	place, memory, err := open(pid)
	if err != nil {
		return false, err
	}
	defer memory.Close()

	code := stub(by)
	there := make([]byte, len(code))

	if _, err := memory.ReadAt(there, int64(place.function)); err != nil {
		return false, err
	}

	// Where it was exchanged before only a number differs, which nobody has read in part.
	if !bytes.HasPrefix(there, code[:offsetAt]) && place.any(at) {
		return true, nil
	}

	_, err = memory.WriteAt(code, int64(place.function))

	return false, err
}

// standstill waits until all threads of a process have stopped, and returns where they go on.
func standstill(pid int) (at []uint64, err error) {
	for end := time.Now().Add(stopPatience); ; {
		if at, err := positions(pid); at != nil || err != nil {
			return at, err
		}

		if time.Now().After(end) {
			return nil, errors.New("it does not stop")
		}

		time.Sleep(100 * time.Microsecond)
	}
}

// ShiftStopped is Shift for a process that stands still already and has run nothing yet, as under ptrace(2) behind execve.
func ShiftStopped(pid int, by time.Duration) error {
	place, memory, err := open(pid)
	if err != nil {
		return fmt.Errorf("set the clock of process %d: %w", pid, err)
	}
	defer memory.Close()

	if _, err := memory.WriteAt(stub(by), int64(place.function)); err != nil {
		return fmt.Errorf("set the clock of process %d: %w", pid, err)
	}

	return nil
}

// place is where the kernel's page is in a process.
type place struct {
	from, to uint64
	function uint64
}

func (p *place) any(at []uint64) bool {
	for _, address := range at {
		if address >= p.from && address < p.to {
			return true
		}
	}

	return false
}

func open(pid int) (place, *os.File, error) {
	memory, err := os.OpenFile(fmt.Sprintf("/proc/%d/mem", pid), os.O_RDWR, 0)
	if err != nil {
		return place{}, nil, err
	}

	p, err := find(pid, memory)
	if err != nil {
		return place{}, nil, errors.Join(err, memory.Close())
	}

	return p, memory, nil
}

// find reads the map of a process's memory, and the symbols of the page.
func find(pid int, memory *os.File) (p place, err error) {
	maps, err := os.ReadFile(fmt.Sprintf("/proc/%d/maps", pid))
	if err != nil {
		return place{}, err
	}

	for line := range strings.Lines(string(maps)) {
		if !strings.HasSuffix(strings.TrimSpace(line), "[vdso]") {
			continue
		}

		if _, err := fmt.Sscanf(line, "%x-%x ", &p.from, &p.to); err != nil {
			return place{}, fmt.Errorf("read %q: %w", line, err)
		}
	}

	image := make([]byte, p.to-p.from)
	if len(image) == 0 {
		return place{}, errors.New("the kernel maps no page of functions")
	}

	if _, err := memory.ReadAt(image, int64(p.from)); err != nil {
		return place{}, fmt.Errorf("read the kernel's page: %w", err)
	}

	file, err := elf.NewFile(bytes.NewReader(image))
	if err != nil {
		return place{}, fmt.Errorf("read the kernel's page: %w", err)
	}

	symbols, err := file.DynamicSymbols()
	if err != nil {
		return place{}, fmt.Errorf("read the kernel's page: %w", err)
	}

	for _, s := range symbols {
		if s.Name == function && s.Size >= uint64(len(stub(0))) {
			p.function = p.from + s.Value

			return p, nil
		}
	}

	return place{}, fmt.Errorf("the kernel's page has no %s", function)
}

// positions are where the threads of a process that has stopped go on; nil while one of them still runs.
func positions(pid int) (at []uint64, err error) {
	files, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/syscall", pid))
	if err != nil || len(files) == 0 {
		return nil, errors.Join(err, os.ErrProcessDone)
	}

	for _, file := range files {
		stopped, err := stands(filepath.Dir(file))
		if err != nil || !stopped {
			return nil, err
		}

		text, err := os.ReadFile(file) // "running", or numbers of which the last is the program counter: proc(5)
		if err != nil {
			return nil, err
		}

		fields := strings.Fields(string(text))
		if len(fields) < 2 {
			return nil, nil
		}

		address, err := strconv.ParseUint(fields[len(fields)-1], 0, 64)
		if err != nil {
			return nil, fmt.Errorf("read %s: %w", file, err)
		}

		at = append(at, address)
	}

	return at, nil
}

// stands tells whether a thread is stopped.
func stands(thread string) (bool, error) {
	state, err := stateOf(thread)

	return state == 'T', err
}

// ended tells whether a process is no more, or is only waited for.
func ended(pid int) bool {
	state, err := stateOf(fmt.Sprintf("/proc/%d", pid))

	return err != nil || state == 'Z' || state == 'X'
}

// stateOf is the first field of stat behind the name, which may hold anything: proc(5).
func stateOf(dir string) (byte, error) {
	stat, err := os.ReadFile(filepath.Join(dir, "stat"))
	if err != nil {
		return 0, err
	}

	_, rest, found := bytes.Cut(stat[max(0, bytes.LastIndexByte(stat, ')')):], []byte(" "))
	if !found || len(rest) == 0 {
		return 0, fmt.Errorf("%s says no state", dir)
	}

	return rest[0], nil
}

package natstest

import (
	"errors"
	"fmt"
	"sync"
)

// fatalLog keeps what the server would have said before ending the process, and drops every other line. A server
// that cannot use its store says so only here: it goes on half started, and no method of it returns the error.
type fatalLog struct {
	mu    sync.Mutex
	fatal error
}

func (l *fatalLog) Fatalf(format string, v ...any) {
	l.mu.Lock()
	defer l.mu.Unlock()

	l.fatal = errors.Join(l.fatal, fmt.Errorf(format, v...))
}

func (*fatalLog) Noticef(string, ...any) {}
func (*fatalLog) Warnf(string, ...any)   {}
func (*fatalLog) Errorf(string, ...any)  {}
func (*fatalLog) Debugf(string, ...any)  {}
func (*fatalLog) Tracef(string, ...any)  {}

func (l *fatalLog) err() error {
	l.mu.Lock()
	defer l.mu.Unlock()

	return l.fatal
}

package settings

import (
	"fmt"
	"strings"
)

// exitCode is the exit code of a process whose configuration is refused.
const exitCode = 2

// Mistake is one wrong variable. Validate methods return it; Load collects all of them.
type Mistake struct { //nolint:errname // it is named in every Validate, where MistakeError would say less
	Name  string // variable
	Value any    // as given; types of this package redact themselves. Nil when there is none to show.
	Rule  string // what must hold: "must be at least 1"
	Fix   string // what to do: "for example BATCH_SIZE=100"
}

// Error is one line: name, value, rule, fix.
func (m Mistake) Error() string {
	var line strings.Builder

	line.WriteString(m.Name)

	if m.Value != nil && fmt.Sprint(m.Value) != "" {
		fmt.Fprintf(&line, "=%v", m.Value)
	}

	line.WriteString(": " + m.Rule)

	if m.Fix != "" {
		line.WriteString(" (" + m.Fix + ")")
	}

	return line.String()
}

// Error holds every mistake of one Load, in the order of the struct's fields.
type Error struct {
	Mistakes []Mistake
}

// Error lists the mistakes, one per line.
func (e *Error) Error() string {
	lines := make([]string, len(e.Mistakes))
	for i, mistake := range e.Mistakes {
		lines[i] = "\n  " + mistake.Error()
	}

	noun := "settings are wrong"
	if len(lines) == 1 {
		noun = "setting is wrong"
	}

	return fmt.Sprintf("%d %s:%s", len(lines), noun, strings.Join(lines, ""))
}

// ExitCode is 2: configuration refused.
func (*Error) ExitCode() int { return exitCode }

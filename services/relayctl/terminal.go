package main

import (
	"os"

	"github.com/charmbracelet/x/term"
)

// isTerminal tells whether a person may be at the other end. /dev/null is a character device too, and no terminal.
func isTerminal(stream any) bool {
	file, ok := stream.(*os.File)

	return ok && term.IsTerminal(file.Fd())
}

// isDrawable tells whether a stream is a terminal whose lines can be written again.
func (p *program) isDrawable(stream any) bool {
	return isTerminal(stream) && p.environ["TERM"] != "dumb"
}

// Size of a terminal that does not say.
const (
	usualColumns = 80
	usualRows    = 24
)

// sizeOf is how many columns and rows a terminal has now.
func sizeOf(stream any) (columns, rows int) {
	if file, ok := stream.(*os.File); ok {
		if columns, rows, err := term.GetSize(file.Fd()); err == nil && columns > 0 && rows > 0 {
			return columns, rows
		}
	}

	return usualColumns, usualRows
}

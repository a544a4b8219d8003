package main

import (
	"bufio"
	"fmt"
	"strings"
)

// confirm has a person type what is asked for. The caller has made sure that a person is there.
func (p *program) confirm(what, wanted string) error {
	to := p.err
	if p.prompt != nil { // a question is no note
		to = p.prompt
	}

	fmt.Fprintf(to, "%s Type %s to go on: ", what, wanted)

	typed, err := bufio.NewReader(p.in).ReadString('\n')
	if err != nil {
		fmt.Fprintln(to)
	}

	if strings.TrimSpace(typed) != wanted {
		return &refusedError{what: "not confirmed, nothing was changed", next: "type " + wanted + ", or add --yes"}
	}

	return nil
}

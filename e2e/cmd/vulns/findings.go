package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
)

// message is one of the stream that govulncheck writes with -format json
// (https://pkg.go.dev/golang.org/x/vuln/internal/govulncheck), as far as it is looked at.
type message struct {
	OSV *struct {
		ID      string `json:"id"`
		Summary string `json:"summary"`
	} `json:"osv"`
	Finding *finding `json:"finding"`
}

// finding is one way in which a vulnerability concerns a program.
type finding struct {
	OSV   string  `json:"osv"`
	Fixed string  `json:"fixed_version"` // empty: nowhere
	Trace []frame `json:"trace"`         // from what is vulnerable to main; without functions where nothing of it is called
}

type frame struct {
	Module   string `json:"module"`
	Version  string `json:"version"`
	Package  string `json:"package"`
	Function string `json:"function"`
}

// ofGo is the module of the standard library.
const ofGo = "stdlib"

// report is what was found of one program: vulnerabilities of code that it calls, in words, by their names.
type report struct {
	modules map[string]string // of modules: another version of them is a change of this tree
	library map[string]string // of Go itself: another Go is a change of the machine that builds
	remedy  string            // the Go that has none of the latter
}

// read understands what govulncheck says.
func read(from io.Reader) (*report, error) {
	r := &report{modules: map[string]string{}, library: map[string]string{}}
	summaries, called := map[string]string{}, map[string]*finding{}

	for messages := json.NewDecoder(from); ; {
		var m message

		err := messages.Decode(&m)
		if errors.Is(err, io.EOF) {
			break
		}

		if err != nil {
			return nil, fmt.Errorf("read what govulncheck says: %w", err)
		}

		switch f := m.Finding; {
		case m.OSV != nil:
			summaries[m.OSV.ID] = m.OSV.Summary
		case f != nil && len(f.Trace) > 0 && f.Trace[0].Function != "":
			called[f.OSV] = f
		}
	}

	for name, f := range called {
		at := f.Trace[0]
		words := fmt.Sprintf("%s, %s %s, called from %s: %s; fixed in %s",
			at.Package, at.Module, at.Version, f.Trace[len(f.Trace)-1].Package, summaries[name], f.Fixed)

		if at.Module != ofGo {
			r.modules[name] = words

			continue
		}

		r.library[name] = words
		r.remedy = later(r.remedy, strings.TrimPrefix(f.Fixed, "v"))
	}

	return r, nil
}

// later is the later of two versions of Go, such as 1.26.9 and 1.26.10.
func later(a, b string) string {
	numbers := func(version string) (n [3]int) {
		_, _ = fmt.Sscanf(version, "%d.%d.%d", &n[0], &n[1], &n[2]) // what is missing is 0

		return n
	}

	x, y := numbers(a), numbers(b)
	if slices.Compare(x[:], y[:]) < 0 {
		return b
	}

	return a
}

// tell writes what was found, and returns an error for what this tree can mend.
func (r *report) tell(out io.Writer, module string) error {
	if len(r.library) > 0 {
		fmt.Fprintf(out, "vulns: WARNING: this Go has %d vulnerabilities that %s calls; publish only what Go %s or later has built: %s\n",
			len(r.library), module, r.remedy, strings.Join(slices.Sorted(maps.Keys(r.library)), " "))
	}

	if len(r.modules) == 0 {
		return nil
	}

	var errs []error
	for _, name := range slices.Sorted(maps.Keys(r.modules)) {
		errs = append(errs, fmt.Errorf("%s (https://pkg.go.dev/vuln/%s): %s", name, name, r.modules[name]))
	}

	return fmt.Errorf("%s: %w", module, errors.Join(errs...))
}

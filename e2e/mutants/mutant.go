package mutants

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// Mutant is a bug to be planted.
type Mutant struct {
	Name string // in a few words with hyphens
	File string // from the root of the tree, with slashes
	What string // what is wrong with it, in words
	Old  string // text of the file, which has it exactly once
	New  string // in its place
}

// All returns the mutants, along the path of the data.
func All() []Mutant {
	return slices.Concat(captured(), published(), consumed(), applied(), parked(), owned(), crossed(), viewed())
}

// ErrStale says that a mutant cannot be planted: the code has changed under the table.
var ErrStale = errors.New("the code is not as the table of mutants has it")

// Text returns the mutated text of the mutant's file. It returns ErrStale.
func (m *Mutant) Text(original string) (string, error) {
	if n := strings.Count(original, m.Old); n != 1 || m.Old == m.New {
		return "", fmt.Errorf("%w: %s has the text of mutant %s %d times, it must once, and change: find where its line is now, or plant another one",
			ErrStale, m.File, m.Name, n)
	}

	return strings.Replace(original, m.Old, m.New, 1), nil
}

// Plant writes the mutated copy of the file into dir, and beside it what go build reads with -overlay; it returns the path
// of that. The tree at root is only read.
func (m *Mutant) Plant(root, dir string) (overlay string, err error) {
	file := filepath.Join(root, filepath.FromSlash(m.File))

	original, err := os.ReadFile(file)
	if err != nil {
		return "", fmt.Errorf("plant %s: %w", m.Name, err)
	}

	text, err := m.Text(string(original))
	if err != nil {
		return "", err
	}

	mutated := filepath.Join(dir, filepath.Base(file))
	overlay = filepath.Join(dir, "overlay.json")

	list, err := json.Marshal(map[string]map[string]string{"Replace": {file: mutated}})
	if err != nil {
		return "", fmt.Errorf("plant %s: %w", m.Name, err)
	}

	if err := errors.Join(os.WriteFile(mutated, []byte(text), 0o600), os.WriteFile(overlay, list, 0o600)); err != nil {
		return "", fmt.Errorf("plant %s: %w", m.Name, err)
	}

	return overlay, nil
}

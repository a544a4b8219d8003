package mutants

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

// Package is one of the workspace, as go list tells it.
type Package struct {
	ImportPath string
	Dir        string

	Imports, TestImports, XTestImports []string
	TestGoFiles, XTestGoFiles          []string
}

// HasTests tells whether there are any.
func (p *Package) HasTests() bool { return len(p.TestGoFiles)+len(p.XTestGoFiles) > 0 }

// drawing are what a test imports that draws random input.
func drawing() []string { return []string{"pgregory.net/rapid", "math/rand/v2"} }

// Draws tells whether some of the package's tests draw random input.
func (p *Package) Draws() bool {
	return slices.ContainsFunc(drawing(), func(path string) bool {
		return slices.Contains(p.TestImports, path) || slices.Contains(p.XTestImports, path)
	})
}

// DrawsIn tells whether a test draws random input, as its text shows: it names rapid, rand or a seed.
func (p *Package) DrawsIn(test string) bool {
	declared := regexp.MustCompile(`(?ms)^func ` + regexp.QuoteMeta(test) + `\(.*?^}`)

	for _, name := range slices.Concat(p.TestGoFiles, p.XTestGoFiles) {
		text, err := os.ReadFile(filepath.Join(p.Dir, name))
		if err != nil {
			continue
		}

		if body := declared.Find(text); body != nil {
			return regexp.MustCompile(`\b(rapid|rand)\.|\b[sS]eed`).Match(body)
		}
	}

	return false
}

// Tree is the packages of the workspace.
type Tree struct{ packages []*Package }

// List asks go for the packages of the workspace at root.
func List(ctx context.Context, root string) (*Tree, error) {
	cmd := exec.CommandContext(ctx, "go", "list", "-json=ImportPath,Dir,Imports,TestImports,XTestImports,TestGoFiles,XTestGoFiles", "work")
	cmd.Dir, cmd.Stderr = root, os.Stderr

	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("list the packages: %w", err)
	}

	t := &Tree{}

	for d := json.NewDecoder(bytes.NewReader(out)); ; {
		p := &Package{}

		switch err := d.Decode(p); {
		case errors.Is(err, io.EOF):
			return t, nil
		case err != nil:
			return nil, fmt.Errorf("list the packages: %w", err)
		}

		t.packages = append(t.packages, p)
	}
}

// Of returns the package of a directory.
func (t *Tree) Of(dir string) (*Package, error) {
	for _, p := range t.packages {
		if p.Dir == dir {
			return p, nil
		}
	}

	return nil, fmt.Errorf("there is no package in %s", dir)
}

// Users returns the packages with tests that use another one, directly or not, the nearest first. Those of e2e are none:
// they use it as programs.
func (t *Tree) Users(of *Package) []*Package {
	type user struct {
		*Package

		distance int
	}

	var users []user

	distances := map[string]int{of.ImportPath: 0}

	for distance, more := 1, true; more; distance++ {
		more = false

		for _, p := range t.packages {
			if _, known := distances[p.ImportPath]; !known && slices.ContainsFunc(p.Imports, reached(distances, distance-1)) {
				distances[p.ImportPath], more = distance, true
			}
		}
	}

	for _, p := range t.packages {
		nearest := -1

		for _, path := range slices.Concat(p.Imports, p.TestImports, p.XTestImports) {
			if d, known := distances[path]; known && (nearest < 0 || d < nearest) {
				nearest = d
			}
		}

		if p != of && nearest >= 0 && p.HasTests() && !isEndToEnd(p) {
			users = append(users, user{p, nearest})
		}
	}

	slices.SortFunc(users, func(a, b user) int {
		return cmp.Or(cmp.Compare(a.distance, b.distance), cmp.Compare(shared(b.Dir, of.Dir), shared(a.Dir, of.Dir)), cmp.Compare(a.ImportPath, b.ImportPath))
	})

	list := make([]*Package, len(users))
	for i := range users {
		list[i] = users[i].Package
	}

	return list
}

// shared is how many directories two paths have in common: of those who use a package, its siblings are the nearest.
func shared(a, b string) (n int) {
	theirs := strings.Split(b, string(filepath.Separator))

	for i, element := range strings.Split(a, string(filepath.Separator)) {
		if i == len(theirs) || theirs[i] != element {
			break
		}

		n++
	}

	return n
}

func reached(distances map[string]int, distance int) func(path string) bool {
	return func(path string) bool {
		d, known := distances[path]

		return known && d == distance
	}
}

func isEndToEnd(p *Package) bool {
	return strings.Contains(p.ImportPath+"/", "/e2e/")
}

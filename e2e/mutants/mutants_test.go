package mutants_test

import (
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/atlas-relay/atlas-relay/e2e/harness"
	"github.com/atlas-relay/atlas-relay/e2e/mutants"
)

func root(t *testing.T) string {
	t.Helper()

	dir, err := harness.Root(t.Context())
	require.NoError(t, err)

	return dir
}

// TestEveryMutantCanBePlanted: the code is as the table has it, and stays Go.
func TestEveryMutantCanBePlanted(t *testing.T) {
	t.Parallel()

	dir := root(t)
	names := map[string]bool{}

	for _, m := range mutants.All() {
		require.Regexp(t, `^[a-z]+(-[a-z]+)+$`, m.Name)
		require.False(t, names[m.Name], "%s stands twice in the table", m.Name)
		require.Regexp(t, `^(pkg|services)/.+\.go$`, m.File, m.Name)
		require.NotContains(t, m.File, "_test.go", m.Name)
		require.Regexp(t, `^[A-Z].*\.$`, m.What, m.Name)

		names[m.Name] = true

		original, err := os.ReadFile(filepath.Join(dir, filepath.FromSlash(m.File)))
		require.NoError(t, err, m.Name)

		text, err := m.Text(string(original))
		require.NoError(t, err)

		_, err = parser.ParseFile(token.NewFileSet(), m.File, text, parser.SkipObjectResolution)
		require.NoError(t, err, m.Name)
	}

	require.GreaterOrEqual(t, len(names), 30)
}

// TestPlantRefusesWhatIsNotThereOnce, so that a mutant is never planted elsewhere than meant.
func TestPlantRefusesWhatIsNotThereOnce(t *testing.T) {
	t.Parallel()

	m := mutants.Mutant{Name: "a-mutant", File: "file.go", Old: "a < b", New: "a <= b"}

	for _, text := range []string{"", "a > b", "a < b && a < b"} {
		_, err := m.Text(text)
		require.ErrorIs(t, err, mutants.ErrStale, text)
	}

	mutated, err := m.Text("if a < b {")
	require.NoError(t, err)
	require.Equal(t, "if a <= b {", mutated)

	m.New = m.Old
	_, err = m.Text("if a < b {")
	require.ErrorIs(t, err, mutants.ErrStale, "it changes nothing")
}

// TestPlantLeavesTheTreeAlone.
func TestPlantLeavesTheTreeAlone(t *testing.T) {
	t.Parallel()

	tree, dir := t.TempDir(), t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(tree, "file.go"), []byte("package p // a < b"), 0o600))

	m := mutants.Mutant{Name: "a-mutant", File: "file.go", Old: "a < b", New: "a <= b"}
	overlay, err := m.Plant(tree, dir)
	require.NoError(t, err)
	require.Equal(t, dir, filepath.Dir(overlay))

	kept, err := os.ReadFile(filepath.Join(tree, "file.go"))
	require.NoError(t, err)
	require.Equal(t, "package p // a < b", string(kept))
}

// TestPageIsOfTheseMutants: each has its line, and none has survived.
func TestPageIsOfTheseMutants(t *testing.T) {
	t.Parallel()

	raw, err := os.ReadFile(filepath.Join(root(t), filepath.FromSlash(mutants.Page)))
	require.NoError(t, err)

	page := string(raw)
	require.Equal(t, mutants.Rendered(page, mutants.All(), nil), page, "the page is not of this table: make mutants")
	require.NotContains(t, page, "**survived**", "write the test that is missing, then make mutants")
	require.NotContains(t, page, "not run yet", "make mutants")
	require.Equal(t, len(mutants.All()), strings.Count(page, "\n| `"))
}

// TestRenderedKeepsOtherLines: who plants a few mutants changes their lines only.
func TestRenderedKeepsOtherLines(t *testing.T) {
	t.Parallel()

	all := []mutants.Mutant{{Name: "one", File: "a.go", What: "One."}, {Name: "two", File: "b.go", What: "Two | three."}}
	found := &mutants.Finding{Kind: mutants.Property, Test: "TestX", Package: "pkg/x", Seeds: 2, Cases: 17}

	page := mutants.Rendered("", all, []mutants.Outcome{{Mutant: &all[0], Finding: found, Took: 3e9}})
	require.Contains(t, page, "| `one` | `a.go` | One. | property: `TestX` of `pkg/x` | 2 (17) | 3s |\n")
	require.Contains(t, page, "| `two` | `b.go` | Two \\| three. | not run yet |  |  |\n")
	require.Contains(t, page, "**1 of 2 found** (unit 0, property 1, end to end 0, chaos 0). Where input is random, the median of the seeds is 2, the most 2.\n")

	page = mutants.Rendered(page, all, []mutants.Outcome{{Mutant: &all[1]}})
	require.Contains(t, page, "property: `TestX` of `pkg/x` | 2 (17) | 3s |\n")
	require.Contains(t, page, "Two \\| three. | **survived** |")

	page = mutants.Rendered(page, all, []mutants.Outcome{
		{Mutant: &all[1], Finding: &mutants.Finding{Kind: mutants.Random, Test: "lost | found\nand more", Seeds: 6}},
	})
	require.Contains(t, page, "| chaos: lost \\| found and more | 6 | 0s |\n")
	require.Contains(t, page, "**2 of 2 found**")
	require.Contains(t, page, "the median of the seeds is 2, the most 6.")
	require.Equal(t, page, mutants.Rendered(page, all, nil))

	require.NotContains(t, mutants.Rendered(page, all[1:], nil), "`one`", "it is in the table no more")
}

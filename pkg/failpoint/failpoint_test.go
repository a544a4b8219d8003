package failpoint_test

import (
	"context"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/atlas-relay/atlas-relay/pkg/failpoint"
)

// call is a place of the code that passes a point.
type call struct {
	at     string
	errors bool
}

// calls finds all of them, by the name of the constant.
func calls(t *testing.T) map[string][]call {
	t.Helper()

	found := map[string][]call{}

	for _, root := range []string{"../../services", "../../pkg"} {
		err := filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
			if err != nil || entry.IsDir() && (entry.Name() == "testdata" || entry.Name() == "failpoint") {
				return cmpErr(err, filepath.SkipDir)
			}

			if entry.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
				return nil
			}

			files := token.NewFileSet()

			file, err := parser.ParseFile(files, path, nil, parser.SkipObjectResolution)
			if err != nil {
				return err
			}

			ast.Inspect(file, func(n ast.Node) bool {
				if name, errors, ok := passed(n); ok {
					found[name] = append(found[name], call{at: files.Position(n.Pos()).String(), errors: errors})
				}

				return true
			})

			return nil
		})
		require.NoError(t, err)
	}

	return found
}

func cmpErr(err, otherwise error) error {
	if err != nil {
		return err
	}

	return otherwise
}

// passed reads failpoint.Pass(failpoint.X) and failpoint.Error(failpoint.X).
func passed(n ast.Node) (name string, errors, ok bool) {
	expression, ok := n.(*ast.CallExpr)
	if !ok || len(expression.Args) != 1 {
		return "", false, false
	}

	function, ok := selected(expression.Fun)
	if !ok || function != "Pass" && function != "Error" {
		return "", false, false
	}

	name, ok = selected(expression.Args[0])

	return name, function == "Error", ok
}

func selected(e ast.Expr) (name string, ok bool) {
	selector, ok := e.(*ast.SelectorExpr)
	if !ok {
		return "", false
	}

	of, ok := selector.X.(*ast.Ident)

	return selector.Sel.Name, ok && of.Name == "failpoint"
}

// constants are the names of the constants of type Point and their values.
func constants(t *testing.T) map[string]failpoint.Point {
	t.Helper()

	file, err := parser.ParseFile(token.NewFileSet(), "table.go", nil, parser.SkipObjectResolution)
	require.NoError(t, err)

	all := map[string]failpoint.Point{}

	ast.Inspect(file, func(n ast.Node) bool {
		spec, ok := n.(*ast.ValueSpec)
		if !ok || spec.Type == nil {
			return true
		}

		if kind, ok := spec.Type.(*ast.Ident); ok && kind.Name == "Point" {
			literal, ok := spec.Values[0].(*ast.BasicLit)
			require.True(t, ok)

			all[spec.Names[0].Name] = failpoint.Point(strings.Trim(literal.Value, `"`))
		}

		return true
	})

	return all
}

// TestEachPointStandsAtOnePlace: a name that is placed nowhere is a fault that never happens, and one that is placed
// twice says of neither whether it did.
func TestEachPointStandsAtOnePlace(t *testing.T) {
	t.Parallel()

	names, placed := constants(t), calls(t)
	require.GreaterOrEqual(t, len(names), 40)

	places := map[failpoint.Point]failpoint.Place{}

	for _, place := range failpoint.Table() {
		require.NotContains(t, places, place.Point, "twice in the table")
		require.NotEmpty(t, place.Means, place.Point)
		require.NotEmpty(t, place.In, place.Point)
		places[place.Point] = place
	}

	require.Len(t, places, len(names), "every constant stands in the table")

	for name, point := range names {
		require.Len(t, placed[name], 1, "%s (%s) has to stand at one place: %v", name, point, placed[name])
		require.Equal(t, places[point].Errors, placed[name][0].errors, "%s: whether it can return an error", placed[name][0].at)
	}

	for name, at := range placed {
		require.Contains(t, names, name, "%v", at)
	}
}

func TestParseTakesWhatStringGives(t *testing.T) {
	t.Parallel()

	armed := []failpoint.Armed{
		{Point: failpoint.CommitSent, Action: failpoint.Fail, Passage: 7},
		{Point: failpoint.PublishSent, Action: failpoint.Exit, Passage: 713},
		{Point: failpoint.LeaseRenewed, Action: failpoint.Wait, For: 6 * time.Second, Passage: 1},
	}

	parsed, err := failpoint.Parse(failpoint.List(armed))
	require.NoError(t, err)
	require.Equal(t, armed, parsed)

	for _, wrong := range []string{
		"x", "processor.acked", "processor.acked=exit", "processor.acked=exit@0", "processor.acked=exit@-1", "processor.acked=stop@1",
		"processor.acked=sleep@1", "processor.acked=sleep:-1s@1", "nowhere=exit@1",
		"processor.acked=error@1", // nothing can be returned there
	} {
		_, err := failpoint.Parse(wrong)
		require.Error(t, err, wrong)
	}
}

// trial runs a program with the points armed, and returns its output and whether it ended in order.
func trial(t *testing.T, hits, armed, tags string) (out string, ok bool) {
	t.Helper()

	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()

	program := filepath.Join(t.TempDir(), "trial")
	built, err := exec.CommandContext(ctx, "go", "build", "-tags="+tags, "-o", program, "./testdata/trial").CombinedOutput()
	require.NoError(t, err, string(built))

	cmd := exec.CommandContext(ctx, program)
	cmd.Env = append(os.Environ(), failpoint.Variable+"="+armed, failpoint.HitsVariable+"="+hits)
	text, err := cmd.CombinedOutput()

	return string(text), err == nil
}

func hits(t *testing.T, dir string) (names []string) {
	t.Helper()

	entries, err := os.ReadDir(dir)
	require.NoError(t, err)

	for _, entry := range entries {
		names = append(names, entry.Name())
	}

	return names
}

func TestActions(t *testing.T) {
	t.Parallel()

	const tag = "failpoints"

	dir := t.TempDir()

	out, ok := trial(t, dir, "processor.commit-sent=error@2,processor.acked=sleep:1100ms@3", tag)
	require.True(t, ok, out)
	require.Equal(t, "1 <nil>\n2 injected by a failpoint: processor.commit-sent=error@2\n3 <nil>\nslept true\ndeferred\n", out)
	require.Equal(t, []string{"processor.acked", "processor.acked=sleep:1.1s@3", "processor.commit-sent", "processor.commit-sent=error@2"}, hits(t, dir))

	const exit = "processor.acked=exit@2"

	out, ok = trial(t, dir, exit, tag)
	require.False(t, ok)
	require.Equal(t, "1 <nil>\n", out, "no deferred function has run")
	require.Contains(t, hits(t, dir), exit)

	out, ok = trial(t, dir, exit, tag)
	require.True(t, ok, "it has struck, so it strikes no more: %s", out)

	out, ok = trial(t, dir, "processor.acked=explode@1", tag)
	require.False(t, ok)
	require.Contains(t, out, "the actions are")
}

// TestWithoutTheTagNothingIsThere: neither does anything happen, nor does the program hold a name of it.
func TestWithoutTheTagNothingIsThere(t *testing.T) {
	t.Parallel()

	dir := t.TempDir()

	out, ok := trial(t, dir, "processor.acked=exit@1,processor.commit-sent=error@1", "other")
	require.True(t, ok, out)
	require.Equal(t, "1 <nil>\n2 <nil>\n3 <nil>\nslept false\ndeferred\n", out)
	require.Empty(t, hits(t, dir))
	require.False(t, failpoint.Built)
}

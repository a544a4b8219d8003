package mutants_test

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/atlas-relay/atlas-relay/e2e/mutants"
)

// workspace is a small one: a package, and another that uses it and has tests of its own.
func workspace(t *testing.T) string {
	t.Helper()

	dir := t.TempDir()

	for name, text := range map[string]string{
		"go.work":     "go 1.26.0\n\nuse ./m\n",
		"m/go.mod":    "module example.com/m\n\ngo 1.26.0\n",
		"m/core/a.go": "package core\n\nfunc Least(a, b int) int {\n\tif a < b {\n\t\treturn a\n\t}\n\n\treturn b\n}\n\nfunc Double(a int) int { return 2 * a }\n\nfunc Unguarded(a int) int { return a }\n",
		"m/core/a_test.go": "package core\n\nimport (\n\t\"math/rand/v2\"\n\t\"testing\"\n)\n\nfunc TestLeast(t *testing.T) {\n" +
			"\tif n := rand.IntN(9); Least(n, n+1) != n {\n\t\tt.Fatal(n)\n\t}\n}\n",
		"m/user/b.go":      "package user\n\nimport \"example.com/m/core\"\n\nfunc Four() int { return core.Double(2) }\n",
		"m/user/b_test.go": "package user\n\nimport \"testing\"\n\nfunc TestFour(t *testing.T) {\n\tif Four() != 4 {\n\t\tt.Fatal(Four())\n\t}\n}\n",
		"m/e2e/c.go":       "package e2e\n",
		"m/left/d.go":      "package left\n\nfunc One() int { return 1 }\n",
		"m/left/d_test.go": "package left\n\nimport (\n\t\"os\"\n\t\"os/exec\"\n\t\"testing\"\n)\n\nfunc TestOne(t *testing.T) {\n" +
			"\tcmd := exec.Command(\"sleep\", \"3600\")\n\tcmd.Stdout = os.Stdout\n\tif err := cmd.Start(); err != nil || One() != 1 {\n\t\tt.Fatal(err)\n\t}\n}\n",
		"e2e/keep": "",
	} {
		path := filepath.Join(dir, filepath.FromSlash(name))
		require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o700))
		require.NoError(t, os.WriteFile(path, []byte(text), 0o600))
	}

	return dir
}

// TestRunnerFindsWhatTestsFind in the nearest package, and names what nothing finds, what does not compile and what
// cannot be planted.
func TestRunnerFindsWhatTestsFind(t *testing.T) {
	t.Setenv("GOWORK", "")

	runner := &mutants.Runner{Root: workspace(t), Parallel: 2, Timeout: time.Minute, Last: mutants.Users}
	list := []mutants.Mutant{
		{Name: "in-its-package", File: "m/core/a.go", Old: "a < b", New: "a > b"},
		{Name: "by-a-user", File: "m/core/a.go", Old: "2 * a", New: "3 * a"},
		{Name: "by-nobody", File: "m/core/a.go", Old: "int { return a }", New: "int { return -a }"},
		{Name: "no-program", File: "m/core/a.go", Old: "2 * a", New: "2 * c"},
		{Name: "not-there", File: "m/core/a.go", Old: "5 * a", New: "2 * a"},
	}

	told := 0

	outcomes, err := runner.Run(t.Context(), list, func(*mutants.Outcome) { told++ })
	require.NoError(t, err)
	require.Equal(t, len(list), told)

	require.NotNil(t, outcomes[0].Finding)
	require.Equal(t, mutants.Finding{Kind: mutants.Property, Test: "TestLeast", Package: "m/core", Seeds: 1}, *outcomes[0].Finding)
	require.NotNil(t, outcomes[1].Finding)
	require.Equal(t, mutants.Finding{Kind: mutants.Unit, Test: "TestFour", Package: "m/user", Seeds: 1}, *outcomes[1].Finding)
	require.Nil(t, outcomes[2].Finding)
	require.NoError(t, outcomes[2].Err)
	require.Nil(t, outcomes[3].Finding, "what does not compile is not found")
	require.ErrorContains(t, outcomes[3].Err, "does not compile")
	require.Nil(t, outcomes[4].Finding)
	require.ErrorIs(t, outcomes[4].Err, mutants.ErrStale)
}

// TestRunnerIsNotHeldUp by a process that a test has left behind, which holds the test's output open.
func TestRunnerIsNotHeldUp(t *testing.T) {
	t.Setenv("GOWORK", "")

	runner := &mutants.Runner{Root: workspace(t), Parallel: 1, Timeout: time.Minute, Last: mutants.Users}
	list := []mutants.Mutant{
		{Name: "one-is-two", File: "m/left/d.go", Old: "return 1", New: "return 2"},
		{Name: "one-is-one", File: "m/left/d.go", Old: "return 1", New: "return 0 + 1"},
	}

	outcomes, err := runner.Run(t.Context(), list, func(*mutants.Outcome) {})
	require.NoError(t, err)
	require.NoError(t, outcomes[0].Err)
	require.NotNil(t, outcomes[0].Finding)
	require.Equal(t, "TestOne", outcomes[0].Finding.Test)
	require.NoError(t, outcomes[1].Err)
	require.Nil(t, outcomes[1].Finding)
}

// TestRead reads what the programs of tests print.
func TestRead(t *testing.T) {
	t.Parallel()

	for name, c := range map[string]struct {
		output, test string
		hung         bool
		cases        int
	}{
		"a test":                         {output: "--- FAIL: TestX (0.02s)\n    --- FAIL: TestX/sub (0.00s)\n        x_test.go:7: no\nFAIL\n", test: "TestX"},
		"a property":                     {output: "--- FAIL: TestX (0.02s)\n    x_test.go:7: [rapid] failed after 12 tests: no\n", test: "TestX", cases: 12},
		"a property behind another test": {output: "--- FAIL: TestX (0.02s)\n    no\n--- FAIL: TestY (0.02s)\n    [rapid] failed after 12 tests: no\n", test: "TestX"},
		"a panic":                        {output: "panic: no\n\ngoroutine 7 [running]:\n"},
		"goleak":                         {output: "PASS\ngoleak: Errors on successful test run: found unexpected goroutines\n"},
		"no end": {
			output: "panic: test timed out after 1m0s\n\trunning tests:\n\t\tTestX (59s)\n\t\tTestY (2s)\n\ngoroutine 7 [running]:\n",
			test:   "TestX", hung: true,
		},
	} {
		test, hung, cases := mutants.Read(c.output)
		require.Equal(t, c.test, test, name)
		require.Equal(t, c.hung, hung, name)
		require.Equal(t, c.cases, cases, name)
	}
}

// TestReadChaos tells what is wrong from a run that says nothing.
func TestReadChaos(t *testing.T) {
	t.Parallel()

	for output, want := range map[string][2]string{
		"seed 7: document x is lost (and 2 more)\n  after: kill\n":      {"document x is lost (and 2 more)", ""},
		"seed 7: could not be made: no server\n  after: nothing\n":      {"", "could not be made: no server"},
		"seed 7: good, 2000 changes applied\n\nthe summary has a fault": {"", "good, 2000 changes applied"},
		"chaos: build the services: no\n":                               {"", "it gave no verdict: chaos: build the services: no"},
	} {
		wrong, nothing := mutants.ReadChaos(output)
		require.Equal(t, want, [2]string{wrong, nothing})
	}
}

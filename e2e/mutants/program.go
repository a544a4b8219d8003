package mutants

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// errBuild says that something does not compile.
var errBuild = errors.New("it does not compile")

// tests is the compiled tests of a package.
type tests struct {
	pkg     *Package
	path    string
	overlay string // of the mutant that they are built with; empty: none
}

// compile builds the tests of a package. It returns errBuild.
func compile(ctx context.Context, p *Package, overlay, dir string) (*tests, error) {
	t := &tests{pkg: p, overlay: overlay, path: filepath.Join(dir, strings.ReplaceAll(p.ImportPath, "/", "_")+".test")}

	cmd := exec.CommandContext(ctx, "go", "test", "-c", "-vet=off", "-o", t.path, ".")
	cmd.Dir, cmd.Env = p.Dir, environ(overlay)

	if out, err := output(cmd); err != nil {
		return nil, fmt.Errorf("%w: tests of %s: %w\n%s", errBuild, p.ImportPath, err, out)
	}

	return t, nil
}

// output runs a command in a group of processes that ends with it, and returns what it printed. That goes to a file: a pipe
// would stay open, and be waited for, as long as anything lives that a test has left behind.
func output(cmd *exec.Cmd) ([]byte, error) {
	file, err := os.CreateTemp("", "atlas-relay-mutants-*.txt")
	if err != nil {
		return nil, fmt.Errorf("make a file for what %s prints: %w", cmd.Path, err)
	}

	defer os.Remove(file.Name())
	defer file.Close()

	cmd.Stdout, cmd.Stderr = file, file
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}

	end := func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.Cancel = end

	if cmd.WaitDelay > 0 { // it is given time to end by itself
		cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	}

	if err = cmd.Start(); err == nil {
		err = cmd.Wait()
		_ = end() // nobody may be left
	}

	out, readErr := os.ReadFile(file.Name())

	return out, cmp.Or(err, readErr)
}

// environ has every go command below compile the mutant, those too that tests run to build the services.
func environ(overlay string) []string {
	if overlay == "" {
		return os.Environ()
	}

	return append(os.Environ(), strings.TrimSpace("GOFLAGS="+os.Getenv("GOFLAGS")+" -overlay="+overlay))
}

// result is what a run of tests says.
type result struct {
	failed bool
	hung   bool
	test   string // the first that failed; empty when the program failed as a whole
	cases  int    // of a property, until it failed; 0: it does not say
	output string
}

// run runs the tests, or one of them. Those that hang are ended by their own clock after the timeout, with their stacks.
func (t *tests) run(ctx context.Context, only string, timeout time.Duration) (result, error) {
	args := []string{"-test.failfast", "-test.timeout=" + timeout.String()}
	if only != "" {
		args = append(args, "-test.run=^"+only+"$")
	}

	cmd := exec.CommandContext(ctx, t.path, args...)
	cmd.Dir, cmd.Env = t.pkg.Dir, append(environ(t.overlay), "RAPID_NOFAILFILE=true") // it would lie in the tree

	out, err := output(cmd)
	if ctx.Err() != nil {
		return result{}, context.Cause(ctx)
	}

	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		return result{}, fmt.Errorf("run the tests of %s: %w", t.pkg.ImportPath, err)
	}

	return read(string(out), err != nil), nil
}

// read finds out what the output of tests says.
func read(output string, failed bool) result {
	r := result{failed: failed, output: output, hung: strings.Contains(output, "panic: test timed out after ")}
	if !failed {
		return r
	}

	named := regexp.MustCompile(`(?m)^--- FAIL: (\w+)`)
	if r.hung {
		named = regexp.MustCompile(`(?s)\n\s*running tests:\n\s+(\w+)`)
	}

	found := named.FindStringSubmatchIndex(output)
	if found == nil {
		return r
	}

	r.test = output[found[2]:found[3]]

	own := output[found[1]:] // up to the next test's
	if next := named.FindStringIndex(own); next != nil {
		own = own[:next[0]]
	}

	if found := regexp.MustCompile(`\[rapid\] (?:failed|panic) after (\d+) tests`).FindStringSubmatch(own); found != nil {
		r.cases, _ = strconv.Atoi(found[1]) // digits
	}

	return r
}

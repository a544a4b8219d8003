// Command vulns asks govulncheck whether known vulnerabilities reach the programs. Its database is on the network, and a
// copy of it is a Go module: where the one cannot be had it takes the other, and says of what date that is. Where neither can
// it says plainly that nothing was checked, and fails nothing. GOVULNDB names another database, such as
// file:///copy/of/vulndb, and then no other is asked.
package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

const (
	govulncheck     = "golang.org/x/vuln/cmd/govulncheck@v1.9.0"
	defaultDatabase = "https://vuln.go.dev"
	copyModule      = "golang.org/x/vulndb" // the repository that the database is made from
	askTimeout      = 10 * time.Second
	downloadTimeout = 2 * time.Minute
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()

	d := databases{first: defaultDatabase, second: download}
	if given := os.Getenv("GOVULNDB"); given != "" {
		d = databases{first: given}
	}

	if err := run(ctx, d, os.Args[1:], os.Stderr); err != nil {
		fmt.Fprintln(os.Stderr, "vulns:", err)
		os.Exit(1)
	}
}

// databases are where to ask.
type databases struct {
	first  string
	second func(context.Context) (*replica, error) // where the first is away; nil: nowhere
}

// replica is a copy of the database on this machine.
type replica struct {
	url  string
	date time.Time // of its last change
}

// run checks modules, by their directories: govulncheck knows no workspace. It returns nil, after a word, where no database
// can be had.
func run(ctx context.Context, d databases, modules []string, out io.Writer) error {
	database, err := d.choose(ctx, out)
	if err != nil {
		fmt.Fprintf(out, "vulns: NOT CHECKED for known vulnerabilities: the database %s cannot be had (%v); set GOVULNDB to a copy, or run this with a network\n", d.first, err)

		return nil
	}

	var errs []error

	for _, module := range modules {
		errs = append(errs, check(ctx, database, module, out))
	}

	return errors.Join(errs...)
}

// check asks for one module. Vulnerabilities in other modules are an error; those of Go itself are a warning, as no change
// of this tree mends them.
func check(ctx context.Context, database, module string, out io.Writer) error {
	var said, messages bytes.Buffer

	cmd := exec.CommandContext(ctx, "go", "run", govulncheck, "-C", module, "-db", database, "-format", "json", "./...")
	cmd.Stdout, cmd.Stderr = &said, &messages

	if err := cmd.Run(); err != nil {
		return fmt.Errorf("govulncheck of %s: %w\n%s", module, err, &messages)
	}

	report, err := read(&said)
	if err != nil {
		return fmt.Errorf("govulncheck of %s: %w", module, err)
	}

	return report.tell(out, module)
}

// choose returns the address of the database to ask.
func (d databases) choose(ctx context.Context, out io.Writer) (string, error) {
	err := reach(ctx, d.first)
	if err == nil || d.second == nil {
		return d.first, err
	}

	replica, failed := d.second(ctx)
	if failed != nil {
		return "", errors.Join(err, failed)
	}

	fmt.Fprintf(out, "vulns: the database %s cannot be had (%v); a copy of %s is asked, %d days old\n",
		d.first, err, replica.date.Format(time.DateOnly), int(time.Since(replica.date).Hours()/24))

	return replica.url, nil
}

// download brings the copy into the module cache. govulncheck reads a directory of plain OSV files as well as the
// database's own layout.
func download(ctx context.Context) (*replica, error) {
	ctx, cancel := context.WithTimeout(ctx, downloadTimeout)
	defer cancel()

	var latest struct {
		Version string
		Time    time.Time
	}

	if err := askGo(ctx, &latest, "list", "-m", "-json", copyModule+"@latest"); err != nil {
		return nil, err
	}

	var module struct{ Dir string }
	if err := askGo(ctx, &module, "mod", "download", "-json", copyModule+"@"+latest.Version); err != nil {
		return nil, err
	}

	return &replica{url: "file://" + filepath.ToSlash(filepath.Join(module.Dir, "data", "osv")), date: latest.Time}, nil
}

// askGo runs the go command outside the workspace, and reads its answer.
func askGo(ctx context.Context, answer any, args ...string) error {
	cmd := exec.CommandContext(ctx, "go", args...)
	cmd.Dir = os.TempDir()
	cmd.Env = append(os.Environ(), "GOWORK=off", "GOFLAGS=-mod=mod")

	var messages bytes.Buffer

	cmd.Stderr = &messages

	out, err := cmd.Output()
	if err != nil {
		return fmt.Errorf("go %s: %w\n%s", strings.Join(args, " "), err, &messages)
	}

	return json.Unmarshal(out, answer)
}

// reach asks for what govulncheck asks for first.
func reach(ctx context.Context, database string) error {
	if path, isFile := strings.CutPrefix(database, "file://"); isFile {
		return lookAt(path)
	}

	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()

	request, err := http.NewRequestWithContext(ctx, http.MethodGet, database+"/index/db.json", http.NoBody)
	if err != nil {
		return err
	}

	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()

	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("it answers %s", response.Status)
	}

	return nil
}

// lookAt finds a database in a directory: in its own layout, or as plain OSV files.
func lookAt(dir string) error {
	_, err := os.Stat(filepath.Join(dir, "index", "db.json"))
	if err == nil {
		return nil
	}

	if files, _ := filepath.Glob(filepath.Join(dir, "GO-*.json")); len(files) > 0 {
		return nil
	}

	return err
}

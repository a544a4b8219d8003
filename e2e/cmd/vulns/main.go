// Command vulns asks govulncheck whether known vulnerabilities reach the programs. Its database is on the network: where
// that cannot be had it says plainly that nothing was checked, and fails nothing. GOVULNDB names another database, such as
// file:///copy/of/vulndb.
package main

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"os/signal"
	"strings"
	"syscall"
	"time"
)

const (
	govulncheck     = "golang.org/x/vuln/cmd/govulncheck@v1.9.0"
	defaultDatabase = "https://vuln.go.dev"
	askTimeout      = 10 * time.Second
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()

	if err := run(ctx, os.Getenv("GOVULNDB"), os.Args[1:], os.Stderr); err != nil {
		fmt.Fprintln(os.Stderr, "vulns:", err)
		os.Exit(1)
	}
}

// run checks modules, by their directories: govulncheck knows no workspace. It returns nil, after a word, where the database is away.
func run(ctx context.Context, database string, modules []string, out io.Writer) error {
	if database == "" {
		database = defaultDatabase
	}

	if err := reach(ctx, database); err != nil {
		fmt.Fprintf(out, "vulns: NOT CHECKED for known vulnerabilities: the database %s cannot be had (%v); set GOVULNDB to a copy, or run this with a network\n", database, err)

		return nil
	}

	for _, module := range modules {
		cmd := exec.CommandContext(ctx, "go", "run", govulncheck, "-C", module, "-db", database, "./...")
		cmd.Stdout, cmd.Stderr = out, out

		if err := cmd.Run(); err != nil {
			return fmt.Errorf("govulncheck of %s: %w", module, err)
		}
	}

	return nil
}

// reach asks for what govulncheck asks for first.
func reach(ctx context.Context, database string) error {
	if path, isFile := strings.CutPrefix(database, "file://"); isFile {
		_, err := os.Stat(path + "/index/db.json")

		return err
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

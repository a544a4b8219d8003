package docs_test

import (
	"encoding/json"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/atlas-relay/atlas-relay/e2e/harness"
	"github.com/atlas-relay/atlas-relay/pkg/lifecycle"
)

// requirePage compares a page of deploy with what the programs say, or writes it.
func requirePage(t *testing.T, name, want string) {
	t.Helper()

	path := filepath.Join(root, "deploy", name)
	if *update {
		require.NoError(t, os.WriteFile(path, []byte(want), 0o600))

		return
	}

	require.Equal(t, want, read(t, "deploy", name), "deploy/%s is stale: run make generate", name)
}

// ask runs a program without any setting and returns what it prints.
func ask(t *testing.T, program string, args ...string) string {
	t.Helper()

	cmd := exec.CommandContext(t.Context(), programs.Path(program), args...)
	cmd.Env = []string{"HOME=" + t.TempDir()}

	out, err := cmd.Output()
	require.NoError(t, err, "%s %v", program, args)

	return string(out)
}

// TestCommandsReference: deploy/COMMANDS.md is what relayctl says of itself.
func TestCommandsReference(t *testing.T) {
	t.Parallel()
	requirePage(t, "COMMANDS.md", ask(t, harness.Relayctl, "commands"))
}

const errorsHead = `# What errors mean, and what to do

Written by ` + "`make generate`" + ` from the code; codes and reasons never change their meaning.

## Exit codes

Of all programs. relayctl says what happened on stderr, and the next step below it.

| code | meaning | remedy |
|---|---|---|
`

const reasonsHead = `
## Reasons of the API

gRPC answers carry ErrorInfo of the domain ` + "`relay.v1`" + ` with one of these reasons, and the remedy in its metadata; over HTTP the
same stands in ` + "`details`" + `. ` + "`UNAVAILABLE`" + ` comes with RetryInfo. Without a reason are errors of the protocol itself, and
` + "`INTERNAL`" + `, with an id beside which the log of the stats service has the cause. Dead letters that an action left alone have reasons of their
own: [API.md](API.md#deadletterrefusal).

| reason | gRPC code | cause | remedy |
|---|---|---|---|
`

const checksHead = `
## Codes of relayctl doctor

What each check looks at, and which ones it needs: [DOCTOR.md](DOCTOR.md).

| code | not so | because of it | remedy |
|---|---|---|---|
`

// TestErrorsReference: deploy/ERRORS.md has every exit code, reason and check, each with a cause and a remedy.
func TestErrorsReference(t *testing.T) {
	t.Parallel()

	var page strings.Builder

	page.WriteString(errorsHead)

	known := map[string]bool{}

	for _, code := range lifecycle.Codes() {
		require.NotEmpty(t, code.Meaning)
		require.NotEmpty(t, code.Remedy)

		known[strconv.Itoa(code.Number)] = true
		fmt.Fprintf(&page, "| %d | %s | %s |\n", code.Number, code.Meaning, code.Remedy)
	}

	requireExitCodes(t, known)
	page.WriteString("| 128 + n | ended by the signal n, the second Ctrl-C for example | start it again: nothing is lost |\n")
	page.WriteString(reasonsHead + ask(t, harness.Stats, "errors"))
	page.WriteString(checksHead)

	var answer struct {
		Checks []struct {
			Code, What, Why, Remedy string
		} `json:"checks"`
	}

	require.NoError(t, json.Unmarshal([]byte(ask(t, harness.Relayctl, "doctor", "--list", "-o", "json")), &answer))

	for _, c := range answer.Checks {
		require.NotEmpty(t, c.Why, c.Code)
		require.NotEmpty(t, c.Remedy, c.Code)
		fmt.Fprintf(&page, "| `%s` | %s | %s | %s |\n", c.Code, c.What, c.Why, c.Remedy)
	}

	requirePage(t, "ERRORS.md", page.String())
}

// requireExitCodes looks through the code for exit codes that nobody has explained.
func requireExitCodes(t *testing.T, known map[string]bool) {
	t.Helper()

	returned := regexp.MustCompile(`ExitCode\(\) int\s*\{\s*return ([\w.]+)\s*\}`)
	constants := regexp.MustCompile(`(?m)^\s*(?:const )?(exit\w+)\s*= (\d+)`)
	seen := 0

	for _, module := range []string{"pkg", "services"} {
		err := filepath.WalkDir(filepath.Join(root, module), func(path string, entry fs.DirEntry, err error) error {
			if err != nil || entry.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
				return err
			}

			content, err := os.ReadFile(path)

			for _, found := range returned.FindAllSubmatch(content, -1) {
				if number := string(found[1]); number[0] >= '0' && number[0] <= '9' {
					require.True(t, known[number], "%s: exit code %s", path, number)
					seen++
				}
			}

			for _, found := range constants.FindAllSubmatch(content, -1) {
				require.True(t, known[string(found[2])], "%s: exit code %s", path, found[2])
				seen++
			}

			return err
		})
		require.NoError(t, err)
	}

	require.Greater(t, seen, 10)
}

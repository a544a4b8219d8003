package main

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// A machine without the database is told so, and not failed.
func TestWithoutTheDatabase(t *testing.T) {
	t.Parallel()

	for _, database := range []string{"http://127.0.0.1:1", "file://" + t.TempDir()} {
		var out bytes.Buffer

		require.NoError(t, run(t.Context(), databases{first: database}, nil, &out))
		require.Contains(t, out.String(), "NOT CHECKED")
		require.Contains(t, out.String(), database)
	}
}

// Where the database is away a copy is asked, and its date is told; where that cannot be had either both reasons are.
func TestWithACopy(t *testing.T) {
	t.Parallel()

	var out bytes.Buffer

	away := "file://" + t.TempDir()
	d := databases{first: away, second: func(context.Context) (*replica, error) {
		return &replica{url: "file:///copy", date: time.Date(2026, 11, 5, 0, 0, 0, 0, time.UTC)}, nil
	}}

	chosen, err := d.choose(t.Context(), &out)
	require.NoError(t, err)
	require.Equal(t, "file:///copy", chosen)
	require.Contains(t, out.String(), away)
	require.Contains(t, out.String(), "2026-11-05")

	d.second = func(context.Context) (*replica, error) { return nil, errors.New("no module either") }
	require.NoError(t, run(t.Context(), d, nil, &out))
	require.Contains(t, out.String(), "NOT CHECKED")
	require.Contains(t, out.String(), "no module either")
}

// A copy is a directory of OSV files and nothing else: the layout of the module. What it knows of fails too.
func TestWithPlainFiles(t *testing.T) {
	t.Parallel()

	dir := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(dir, "GO-1.json"), []byte(vulnerability), 0o600))

	var out bytes.Buffer

	copied := func(context.Context) (*replica, error) { return &replica{url: "file://" + dir}, nil }
	require.Error(t, run(t.Context(), databases{first: "file://" + t.TempDir(), second: copied}, []string{"."}, &out))
	require.Contains(t, out.String(), "https://pkg.go.dev/vuln/GO-1")
}

// vulnerability is one of what this very program calls. Without an address of its own govulncheck crashes, and sometimes
// ends with 0 all the same.
const vulnerability = `{"schema_version":"1.3.1","id":"GO-1","modified":"2026-11-01T00:00:00Z","published":"2026-11-01T00:00:00Z","details":"x",
	"database_specific":{"url":"https://pkg.go.dev/vuln/GO-1"},
	"affected":[{"package":{"name":"stdlib","ecosystem":"Go"},"ranges":[{"type":"SEMVER","events":[{"introduced":"0"}]}],
	"ecosystem_specific":{"imports":[{"path":"os/exec","symbols":["Cmd.Run"]}]}}]}`

// With one it is asked, and what it knows of fails.
func TestWithADatabase(t *testing.T) {
	t.Parallel()

	dir := t.TempDir()
	write := func(name, content string) {
		path := filepath.Join(dir, name)
		require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o700))
		require.NoError(t, os.WriteFile(path, []byte(content), 0o600))
	}

	var out bytes.Buffer

	write("index/db.json", `{"modified":"2026-11-01T00:00:00Z"}`)
	write("index/modules.json", `[]`)
	write("index/vulns.json", `[]`)
	require.NoError(t, run(t.Context(), databases{first: "file://" + dir}, []string{"."}, &out), "%s", &out)
	require.Contains(t, out.String(), "No vulnerabilities found")

	write("index/modules.json", `[{"path":"stdlib","vulns":[{"id":"GO-1","modified":"2026-11-01T00:00:00Z"}]}]`)
	write("index/vulns.json", `[{"id":"GO-1","modified":"2026-11-01T00:00:00Z"}]`)
	write("ID/GO-1.json", vulnerability)
	require.Error(t, run(t.Context(), databases{first: "file://" + dir}, []string{"."}, &out))
	require.Contains(t, out.String(), "https://pkg.go.dev/vuln/GO-1")
}

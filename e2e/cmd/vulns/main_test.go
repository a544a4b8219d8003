package main

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
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

// A copy is a directory of OSV files and nothing else: the layout of the module. What it knows of Go itself is told, with
// the Go that mends it.
func TestWithPlainFiles(t *testing.T) {
	t.Parallel()

	dir := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(dir, "GO-1.json"), []byte(vulnerability), 0o600))

	var out bytes.Buffer

	copied := func(context.Context) (*replica, error) { return &replica{url: "file://" + dir}, nil }
	require.NoError(t, run(t.Context(), databases{first: "file://" + t.TempDir(), second: copied}, []string{"."}, &out))
	require.Contains(t, out.String(), "WARNING")
	require.Contains(t, out.String(), "Go 1.999.1 or later has built: GO-1")
}

// vulnerability is one of what this very program calls.
const vulnerability = `{"schema_version":"1.3.1","id":"GO-1","modified":"2026-11-01T00:00:00Z","published":"2026-11-01T00:00:00Z","summary":"x",
	"database_specific":{"url":"https://pkg.go.dev/vuln/GO-1"},
	"affected":[{"package":{"name":"stdlib","ecosystem":"Go"},"ranges":[{"type":"SEMVER","events":[{"introduced":"0"},{"fixed":"1.999.1"}]}],
	"ecosystem_specific":{"imports":[{"path":"os/exec","symbols":["Cmd.Run"]}]}}]}`

// With a database of its own layout that is asked.
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
	require.NoError(t, run(t.Context(), databases{first: "file://" + dir}, []string{"."}, &out))
	require.Empty(t, out.String())

	write("index/modules.json", `[{"path":"stdlib","vulns":[{"id":"GO-1","modified":"2026-11-01T00:00:00Z"}]}]`)
	write("index/vulns.json", `[{"id":"GO-1","modified":"2026-11-01T00:00:00Z"}]`)
	write("ID/GO-1.json", vulnerability)
	require.NoError(t, run(t.Context(), databases{first: "file://" + dir}, []string{"."}, &out))
	require.Contains(t, out.String(), "GO-1")
}

// What is in a module that this tree requires fails, unless nothing of it is called; it is named with what mends it.
func TestFindings(t *testing.T) {
	t.Parallel()

	const said = `{"config":{"protocol_version":"v1.0.0"}}
		{"osv":{"id":"GO-1","summary":"a crash"}}
		{"osv":{"id":"GO-2","summary":"another"}}
		{"finding":{"osv":"GO-2","fixed_version":"v0.2.0","trace":[{"module":"example.net/b","version":"v0.1.0"}]}}
		{"finding":{"osv":"GO-1","fixed_version":"v0.2.0","trace":[
			{"module":"example.net/a","version":"v0.1.0","package":"example.net/a/b","function":"Read"},
			{"module":"ours","package":"ours/listener","function":"main"}]}}
		{"finding":{"osv":"GO-3","fixed_version":"v1.26.9","trace":[{"module":"stdlib","version":"v1.26.8","package":"net/http","function":"Do"}]}}
		{"finding":{"osv":"GO-4","fixed_version":"v1.26.10","trace":[{"module":"stdlib","version":"v1.26.8","package":"net/http","function":"Do"}]}}`

	r, err := read(strings.NewReader(said))
	require.NoError(t, err)

	var out bytes.Buffer

	err = r.tell(&out, "listener")
	require.EqualError(t, err, "listener: GO-1 (https://pkg.go.dev/vuln/GO-1): example.net/a/b, example.net/a v0.1.0, called from ours/listener: a crash; fixed in v0.2.0")
	require.Contains(t, out.String(), "2 vulnerabilities")
	require.Contains(t, out.String(), "Go 1.26.10 or later has built: GO-3 GO-4")

	_, err = read(strings.NewReader("no JSON"))
	require.Error(t, err)
}

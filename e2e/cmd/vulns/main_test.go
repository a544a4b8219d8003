package main

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

// A machine without the database is told so, and not failed.
func TestWithoutTheDatabase(t *testing.T) {
	t.Parallel()

	for _, database := range []string{"http://127.0.0.1:1", "file://" + t.TempDir()} {
		var out bytes.Buffer

		require.NoError(t, run(t.Context(), database, nil, &out))
		require.Contains(t, out.String(), "NOT CHECKED")
		require.Contains(t, out.String(), database)
	}
}

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
	require.NoError(t, run(t.Context(), "file://"+dir, []string{"."}, &out), "%s", &out)
	require.Contains(t, out.String(), "No vulnerabilities found")

	// A vulnerability of what this very program calls.
	write("index/modules.json", `[{"path":"stdlib","vulns":[{"id":"GO-1","modified":"2026-11-01T00:00:00Z"}]}]`)
	write("index/vulns.json", `[{"id":"GO-1","modified":"2026-11-01T00:00:00Z"}]`)
	write("ID/GO-1.json", `{"schema_version":"1.3.1","id":"GO-1","modified":"2026-11-01T00:00:00Z","published":"2026-11-01T00:00:00Z","details":"x",
		"affected":[{"package":{"name":"stdlib","ecosystem":"Go"},"ranges":[{"type":"SEMVER","events":[{"introduced":"0"}]}],
		"ecosystem_specific":{"imports":[{"path":"os/exec","symbols":["Cmd.Run"]}]}}]}`)
	require.Error(t, run(t.Context(), "file://"+dir, []string{"."}, &out))
	require.Contains(t, out.String(), "GO-1")
}

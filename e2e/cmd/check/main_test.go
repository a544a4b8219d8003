package main

import (
	"bytes"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/atlas-relay/atlas-relay/e2e/history"
)

// save writes the record of a run in which nothing happened.
func save(t *testing.T) string {
	t.Helper()

	folder := t.TempDir()
	require.NoError(t, history.WriteMeta(folder, history.Meta{Flow: "test", Partitions: 1}))

	for _, name := range []string{history.WritesFile, history.SourceFile, history.TargetFile, history.StreamFile, history.SourceDocuments, history.TargetDocuments} {
		file, err := history.Create[history.Document](folder, name)
		require.NoError(t, err)
		require.NoError(t, file.Close())
	}

	return folder
}

func TestExitCodes(t *testing.T) {
	t.Parallel()

	for name, test := range map[string]struct {
		args []string
		code int
		says string
	}{
		"help":            {args: []string{"-h"}, code: fine},
		"no folder":       {code: refused, says: "name the folder"},
		"two folders":     {args: []string{"a", "b"}, code: refused, says: "name the folder"},
		"unknown option":  {args: []string{"-nothing"}, code: refused, says: "-nothing"},
		"no record":       {args: []string{t.TempDir()}, code: refused, says: "meta.json"},
		"an empty record": {args: []string{save(t)}, code: broken},
	} {
		var out bytes.Buffer

		code, err := run(test.args, &out)
		require.Equal(t, test.code, code, name)

		if test.says != "" {
			require.ErrorContains(t, err, test.says, name)
		} else {
			require.NoError(t, err, name)
			require.NotEmpty(t, out.String(), name)
		}
	}
}

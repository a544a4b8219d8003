package docs_test

import (
	"fmt"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// licences are told by a sentence of each, the first one in the text: a later one may name another licence. What is none of
// them is looked at by a person, who then adds it here.
var licences = []struct {
	sentence *regexp.Regexp
	name     string
	linked   bool // may be linked into what we distribute under Apache-2.0
}{
	{regexp.MustCompile(`Apache License\s+Version 2\.0`), "Apache-2.0", true},
	{regexp.MustCompile(`Permission is hereby granted, free of charge`), "MIT", true},
	{regexp.MustCompile(`Redistribution and use in source and binary forms`), "BSD", true},
	{regexp.MustCompile(`Permission to use, copy, modify, and(/or)? distribute this software for any purpose`), "ISC", true},
	{regexp.MustCompile(`Mozilla Public License,?\s+[Vv]ersion 2\.0`), "MPL-2.0", true},
	{regexp.MustCompile(`GNU (AFFERO |LESSER |LIBRARY )?GENERAL PUBLIC LICENSE`), "GPL", false},
}

func classify(text string) (name string, linked bool) {
	first := len(text)

	for _, l := range licences {
		if at := l.sentence.FindStringIndex(text); at != nil && at[0] < first {
			first, name, linked = at[0], l.name, l.linked
		}
	}

	return name, linked
}

func TestClassify(t *testing.T) {
	t.Parallel()

	for text, want := range map[string]string{
		"                    GNU GENERAL PUBLIC LICENSE\n   Version 3":                                            "GPL false",
		"GNU AFFERO GENERAL PUBLIC LICENSE":                                                                       "GPL false",
		"Copyright X\n\nPermission is hereby granted, free of charge, to any person … GNU GENERAL PUBLIC LICENSE": "MIT true",
		"All rights reserved. Ask us.":                                                                            " false",
	} {
		name, linked := classify(text)
		require.Equal(t, want, fmt.Sprint(name, " ", linked))
	}

	name, linked := classify(read(t, "LICENSE"))
	require.Equal(t, "Apache-2.0 true", fmt.Sprint(name, " ", linked))
}

// linked are the modules that the binaries hold, beside our own, with their directories.
func linked(t *testing.T) map[string]string {
	t.Helper()

	cmd := exec.CommandContext(t.Context(), "go", "list", "-deps", "-f", "{{with .Module}}{{if not .Main}}{{.Path}} {{.Dir}}{{end}}{{end}}",
		"./services/listener", "./services/processor", "./services/stats", "./services/relayctl")
	cmd.Dir = root
	cmd.Env = append(os.Environ(), "GOOS=linux", "GOARCH=amd64") // the same list on every machine

	out, err := cmd.Output()
	require.NoError(t, err)

	modules := map[string]string{}

	for line := range strings.Lines(string(out)) {
		if path, dir, found := strings.Cut(strings.TrimSpace(line), " "); found {
			modules[path] = dir
		}
	}

	require.Greater(t, len(modules), 10)

	return modules
}

// licenceOf reads what a module says in its root.
func licenceOf(t *testing.T, path, dir string) string {
	t.Helper()

	entries, err := os.ReadDir(dir)
	require.NoError(t, err)

	file := regexp.MustCompile(`(?i)^(li[cs]en[cs]e|copying)`)
	i := slices.IndexFunc(entries, func(e fs.DirEntry) bool { return !e.IsDir() && file.MatchString(e.Name()) })
	require.GreaterOrEqual(t, i, 0, "%s has no licence", path)

	text, err := os.ReadFile(filepath.Join(dir, entries[i].Name()))
	require.NoError(t, err)

	name, allowed := classify(string(text))
	require.NotEmpty(t, name, "%s has a licence that nobody has looked at: %s", path, filepath.Join(dir, entries[i].Name()))
	require.True(t, allowed, "%s is under %s and must not be linked into a binary: use it as an external process, or not at all", path, name)

	return name
}

const licencesHead = `# What the binaries hold of others

Written by ` + "`make generate`" + `: modules that are linked into a binary, and what is served with the page. Nothing under the GPL is; the
MongoDB of the tests is an external process.

| what | licence |
|---|---|
`

// TestLicencesReference: deploy/LICENCES.md lists what is linked into the binaries; all of it may be.
func TestLicencesReference(t *testing.T) {
	t.Parallel()

	modules := linked(t)

	var text strings.Builder

	text.WriteString(licencesHead)

	for _, path := range slices.Sorted(maps.Keys(modules)) {
		fmt.Fprintf(&text, "| %s | %s |\n", path, licenceOf(t, path, modules[path]))
	}

	name, allowed := classify(read(t, "services", "stats", "internal", "web", "page", "vendor", "uPlot.LICENSE"))
	require.True(t, allowed)

	fmt.Fprintf(&text, "| uPlot, in the page | %s |\n", name)
	requirePage(t, "LICENCES.md", text.String())
}

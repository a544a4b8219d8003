package main

import (
	"bytes"
	"debug/buildinfo"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestCheck publishes a release of real programs, and then each mistake that users would find.
func TestCheck(t *testing.T) {
	t.Parallel()

	linux, darwin := platforms()
	programs := map[platform][]byte{linux: build(t, linux, version), darwin: build(t, darwin, version)}

	info, err := buildinfo.Read(bytes.NewReader(programs[linux]))
	require.NoError(t, err)
	require.Len(t, info.Deps, 1)

	sync := info.Deps[0].Version

	require.NoError(t, fit(programs, sync).publish(t).check(t.Context(), []string{program}))

	for name, test := range map[string]struct {
		change func(*contents)
		says   string
	}{
		"another version":      {func(c *contents) { c.programs[linux] = build(t, linux, "v1.2.2") }, `it says that it is "listener v1.2.2"`},
		"another version, far": {func(c *contents) { c.programs[darwin] = build(t, darwin, "v1.2.2") }, "does not know that its version is v1.2.3"},
		"another platform":     {func(c *contents) { c.programs[darwin] = c.programs[linux] }, "invalid magic number"},
		"paths":                {func(c *contents) { c.programs[linux] = build(t, linux, version, "-trimpath=false") }, "-trimpath"},
		"no program":           {func(c *contents) { c.programs[linux] = nil }, "EOF"},
		"not executable":       {func(c *contents) { c.mode = 0o644 }, "not that of a program"},
		"no manual":            {func(c *contents) { c.beside = without(c.beside, "man/man1/relayctl.1") }, "there is no man/man1/relayctl.1"},
		"no completions":       {func(c *contents) { c.beside = without(c.beside, "completions/relayctl.zsh") }, "there is no completions/relayctl.zsh"},
		"unpacks anywhere":     {func(c *contents) { c.root = "bin" }, "beside the directory"},
		"SBOM without module":  {func(c *contents) { delete(c.packages, "golang.org/x/sync") }, "does not name golang.org/x/sync"},
		"SBOM, old module":     {func(c *contents) { c.packages["golang.org/x/sync"] = "v0.0.1" }, "does not name golang.org/x/sync"},
		"SBOM without version": {func(c *contents) { delete(c.packages, program) }, "does not name the version"},
		"image with a shell":   {func(c *contents) { c.image["bin/sh"] = nil }, `it holds ["bin/sh"`},
		"image too large":      {func(c *contents) { c.image[certificates] = make([]byte, mostImage) }, "more than 25000000"},
		"image for root":       {func(c *contents) { c.config.User = "0" }, `its user is "0"`},
		"image for a name":     {func(c *contents) { c.config.User = "nonroot" }, `its user is "nonroot"`},
		"image without labels": {func(c *contents) { c.config.Labels = nil }, "its label version"},
		"image of another":     {func(c *contents) { c.config.Entrypoint = []string{"/bin/sh"} }, "it starts"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()

			c := fit(programs, sync)
			test.change(c)
			require.ErrorContains(t, c.publish(t).check(t.Context(), []string{program}), test.says)
		})
	}

	t.Run("damaged", func(t *testing.T) {
		t.Parallel()

		r := fit(programs, sync).publish(t)
		path := filepath.Join(r.dir, imagesFile)
		content, err := os.ReadFile(path)
		require.NoError(t, err)

		content[len(content)/2] ^= 1
		require.NoError(t, os.WriteFile(path, content, 0o600))
		require.ErrorContains(t, r.checkSums(), imagesFile+": its checksum is")
	})

	t.Run("no checksum", func(t *testing.T) {
		t.Parallel()

		r := fit(programs, sync).publish(t)
		require.NoError(t, os.WriteFile(filepath.Join(r.dir, "more.tar.gz"), nil, 0o600))
		require.ErrorContains(t, r.checkSums(), "more.tar.gz has no checksum")
	})
}

// TestProgramsAreInOrder: an archive of darwin had them in another order than the same one before, on a busy machine.
func TestProgramsAreInOrder(t *testing.T) {
	t.Parallel()

	programs := []string{"listener", "processor", "stats"}

	require.NoError(t, inOrder([]string{"LICENSE", "listener", "processor", "README.md", "stats"}, programs))
	require.ErrorContains(t, inOrder([]string{"LICENSE", "processor", "listener", "stats"}, programs), "[processor listener stats], not [listener")
}

func without(all []string, one string) []string {
	return slices.DeleteFunc(slices.Clone(all), func(name string) bool { return name == one })
}

package main

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"encoding/json"
	"io"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"testing"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/stretchr/testify/require"
)

const (
	program  = "listener"
	version  = "v1.2.3"
	revision = "0123456789abcdef"
)

// source is a program that stands for the listener, with a module of others in it.
const source = `package main

import (
	"os"

	"golang.org/x/sync/errgroup"
)

var stamped string

func main() {
	var g errgroup.Group

	g.Go(func() error {
		_, err := os.Stdout.WriteString("listener " + stamped + "\n")

		return err
	})

	if g.Wait() != nil {
		os.Exit(1)
	}
}
`

// platforms are enough of them to mistake one for another.
func platforms() (linux, darwin platform) {
	return platform{"linux", runtime.GOARCH}, platform{"darwin", "arm64"}
}

// build compiles the program as goreleaser does, with this version.
func build(t *testing.T, p platform, version string, flags ...string) []byte {
	t.Helper()

	dir := t.TempDir()
	write := func(name, content string) {
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600))
	}

	sums, err := os.ReadFile(filepath.Join("..", "..", "go.sum"))
	require.NoError(t, err)

	out, err := exec.CommandContext(t.Context(), "go", "list", "-m", "-f", "{{.Version}}", "golang.org/x/sync").Output()
	require.NoError(t, err)

	write("go.mod", "module "+module+program+"\n\ngo 1.26.0\n\nrequire golang.org/x/sync "+string(bytes.TrimSpace(out))+"\n")
	write("go.sum", string(sums))
	write("main.go", source)

	args := append([]string{"build", "-trimpath", "-buildvcs=false", "-ldflags=-s -w -X main.stamped=" + version, "-o", "program"}, flags...)
	cmd := exec.CommandContext(t.Context(), "go", append(args, ".")...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "GOWORK=off", "CGO_ENABLED=0", "GOOS="+p.os, "GOARCH="+p.arch)

	message, err := cmd.CombinedOutput()
	require.NoError(t, err, "%s", message)

	content, err := os.ReadFile(filepath.Join(dir, "program"))
	require.NoError(t, err)

	return content
}

// contents are what a release of one program for two platforms, and of its image, consists of.
type contents struct {
	programs map[platform][]byte
	mode     int64
	beside   []string
	root     string // where an archive unpacks to, instead of a directory of its own name
	packages map[string]string
	image    map[string][]byte // files, by name
	config   v1.Config
}

// fit is a release as it should be.
func fit(programs map[platform][]byte, sync string) *contents {
	linux, _ := platforms()

	return &contents{
		programs: maps.Clone(programs), mode: 0o755, beside: beside(),
		packages: map[string]string{program: version, "golang.org/x/sync": sync},
		image:    map[string][]byte{"service": programs[linux], certificates: []byte("certificates")},
		config: v1.Config{
			User: "65532:65532", Entrypoint: []string{"/service"},
			Labels: map[string]string{
				"org.opencontainers.image.title": "Atlas Relay: " + program, "org.opencontainers.image.version": version,
				"org.opencontainers.image.revision": revision, "org.opencontainers.image.licenses": "Apache-2.0",
				"org.opencontainers.image.source": "https://github.com/atlas-relay/atlas-relay",
			},
		},
	}
}

// publish writes it all, checksums last.
func (c *contents) publish(t *testing.T) *release {
	t.Helper()

	linux, darwin := platforms()
	r := &release{
		dir: t.TempDir(), tree: t.TempDir(), version: version, revision: revision,
		programs: []string{program}, platforms: []platform{linux, darwin},
	}

	for _, p := range r.platforms {
		archive := "atlas-relay_1.2.3_" + p.String()
		root := archive

		if c.root != "" {
			root = c.root
		}

		files := map[string][]byte{root + "/" + program: c.programs[p]}
		for _, name := range c.beside {
			files[root+"/"+name] = []byte(name)
		}

		c.write(t, r, archive+".tar.gz", zip(t, pack(t, files, c.mode)))
		c.write(t, r, program+"_1.2.3_"+p.String()+".spdx.json", c.bill(t))
	}

	c.write(t, r, program+"_1.2.3_image.spdx.json", c.bill(t))
	c.write(t, r, imagesFile, zip(t, c.images(t, linux)))

	require.NoError(t, os.WriteFile(filepath.Join(r.dir, sumsFile), nil, 0o600))

	entries, err := os.ReadDir(r.dir)
	require.NoError(t, err)

	for _, entry := range entries {
		if entry.Name() != sumsFile {
			require.NoError(t, r.addSums(entry.Name()))
		}
	}

	return r
}

func (*contents) write(t *testing.T, r *release, name string, content []byte) {
	t.Helper()

	require.NoError(t, os.WriteFile(filepath.Join(r.dir, name), content, 0o600))
}

// bill is an SBOM.
func (c *contents) bill(t *testing.T) []byte {
	t.Helper()

	packages := []map[string]string{}
	for name, version := range c.packages {
		packages = append(packages, map[string]string{"name": name, "versionInfo": version})
	}

	text, err := json.Marshal(map[string]any{"spdxVersion": "SPDX-2.3", "documentNamespace": "https://x", "packages": packages})
	require.NoError(t, err)

	return text
}

// images is what docker save writes.
func (c *contents) images(t *testing.T, p platform) []byte {
	t.Helper()

	content := pack(t, c.image, 0o755)

	layer, err := tarball.LayerFromOpener(func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(content)), nil })
	require.NoError(t, err)

	image, err := mutate.AppendLayers(empty.Image, layer)
	require.NoError(t, err)

	config, err := image.ConfigFile()
	require.NoError(t, err)

	config = config.DeepCopy()
	config.OS, config.Architecture, config.Config = p.os, p.arch, c.config

	image, err = mutate.ConfigFile(image, config)
	require.NoError(t, err)

	tag, err := name.NewTag(imageName(program))
	require.NoError(t, err)

	var out bytes.Buffer

	require.NoError(t, tarball.Write(tag, image, &out))

	return out.Bytes()
}

func pack(t *testing.T, files map[string][]byte, mode int64) []byte {
	t.Helper()

	var out bytes.Buffer

	w := tar.NewWriter(&out)

	for _, name := range slices.Sorted(maps.Keys(files)) {
		require.NoError(t, w.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: name, Mode: mode, Size: int64(len(files[name]))}))

		_, err := w.Write(files[name])
		require.NoError(t, err)
	}

	require.NoError(t, w.Close())

	return out.Bytes()
}

func zip(t *testing.T, content []byte) []byte {
	t.Helper()

	var out bytes.Buffer

	w := gzip.NewWriter(&out)

	_, err := w.Write(content)
	require.NoError(t, err)
	require.NoError(t, w.Close())

	return out.Bytes()
}

//go:build compose

package compose_test

import (
	"archive/tar"
	"context"
	"errors"
	"io"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/atlas-relay/atlas-relay/e2e/harness"
)

// ours are the services of the compose file that run our images, and the program in each.
func ours() map[string]string {
	return map[string]string{
		"init": harness.Relayctl, "listener": harness.Listener, "processor": harness.Processor, "stats": harness.Stats,
	}
}

// mostBytes is how large an image may be.
const mostBytes = 25_000_000

// inspected is what docker inspect says of an image.
type inspected struct {
	Size   int64
	Config struct {
		User       string
		Entrypoint []string
		Labels     map[string]string
	}
	RootFS struct{ Layers []string }
}

// TestImages: each image is its binary and certificates, small, for a user without a name or rights, and says what it is.
func TestImages(t *testing.T) {
	s := up(t)
	revision, version := s.git(t, "rev-parse", "HEAD"), s.git(t, "describe", "--tags", "--always", "--dirty")

	for service, program := range ours() {
		t.Run(program, func(t *testing.T) {
			c, err := s.compose.One(t.Context(), service)
			require.NoError(t, err)

			var images []inspected
			require.NoError(t, s.docker.Inspect(t.Context(), &images, c.Image))

			image := images[0]
			t.Logf("%.1f MB", float64(image.Size)/1e6)

			require.LessOrEqual(t, image.Size, int64(mostBytes))
			require.Equal(t, "65532:65532", image.Config.User)
			require.Equal(t, []string{"/service"}, image.Config.Entrypoint)

			for label, value := range map[string]string{
				"title": "Atlas Relay: " + program, "version": version, "revision": revision,
				"source": "https://github.com/atlas-relay/atlas-relay", "licenses": "Apache-2.0",
			} {
				require.Equal(t, value, image.Config.Labels["org.opencontainers.image."+label], label)
			}

			require.True(t, c.HostConfig.ReadonlyRootfs)
			require.False(t, c.HostConfig.Privileged)
			require.Empty(t, c.HostConfig.CapAdd)
			require.Equal(t, []string{"ALL"}, c.HostConfig.CapDrop)
			require.Contains(t, c.HostConfig.SecurityOpt, "no-new-privileges:true")

			files := s.files(t, c.ID)
			require.Equal(t, []string{"etc/ssl/certs/ca-certificates.crt", "service"}, files, "a shell, or a file that nobody needs")
		})
	}

	out, err := s.compose.Run(t.Context(), "run", "--rm", "--no-deps", "listener", "version")
	require.NoError(t, err)
	require.Equal(t, "listener "+version, out)
}

// git asks the repository that the images were built from.
func (s *stack) git(t *testing.T, args ...string) string {
	t.Helper()

	out, err := exec.CommandContext(t.Context(), "git", append([]string{"-C", s.compose.Dir}, args...)...).Output()
	require.NoError(t, err)

	return strings.TrimSpace(string(out))
}

// files are those in a container that have content and are not the engine's own.
func (s *stack) files(t *testing.T, container string) []string {
	t.Helper()

	var names []string

	require.NoError(t, s.each(t.Context(), container, func(header *tar.Header, _ io.Reader) error {
		own := []string{".dockerenv", "dev/console", "etc/hostname", "etc/hosts", "etc/resolv.conf", "etc/mtab"}
		if header.Typeflag != tar.TypeDir && !slices.Contains(own, header.Name) {
			names = append(names, header.Name)
		}

		return nil
	}))
	slices.Sort(names)

	return names
}

// each reads the files of a container, running or not.
func (s *stack) each(ctx context.Context, container string, see func(*tar.Header, io.Reader) error) error {
	return s.docker.Stream(ctx, func(out io.Reader) error {
		for files := tar.NewReader(out); ; {
			header, err := files.Next()
			if errors.Is(err, io.EOF) {
				return nil
			}

			if err == nil {
				err = see(header, files)
			}

			if err != nil {
				return err
			}
		}
	}, "export", container)
}

// TestBuildIsReproducible builds the images once more, with everything compiled anew, and gets the same layers.
func TestBuildIsReproducible(t *testing.T) {
	s := up(t)

	for service, program := range ours() {
		t.Run(program, func(t *testing.T) {
			first, err := s.compose.One(t.Context(), service)
			require.NoError(t, err)
			require.Equal(t, s.layers(t, first.Image), s.layers(t, s.again(t, program)))
		})
	}
}

// again is another image of the program. The first of them compiles, without any cache; the others take that step from it.
func (s *stack) again(t *testing.T, program string) (tag string) {
	t.Helper()

	tag = s.compose.Name + "-again-" + program
	args := []string{
		"build", "--tag", tag, "--file", filepath.Join(s.compose.Dir, "deploy", "Dockerfile"),
		"--build-arg", "SERVICE=" + program, "--build-arg", "GOCACHE=/tmp/" + s.compose.Name,
		"--build-arg", "VERSION=" + s.git(t, "describe", "--tags", "--always", "--dirty"),
		s.compose.Dir,
	}

	ctx, cancel := s.building(t)
	defer cancel()

	_, err := s.docker.Run(ctx, args...)
	require.NoError(t, err)

	t.Cleanup(func() {
		_, err := s.docker.Run(context.WithoutCancel(t.Context()), "rmi", tag)
		require.NoError(t, err)
	})

	return tag
}

// layers are the digests of the files of an image.
func (s *stack) layers(t *testing.T, image string) []string {
	t.Helper()

	var images []inspected
	require.NoError(t, s.docker.Inspect(t.Context(), &images, image))
	require.NotEmpty(t, images[0].RootFS.Layers)

	return images[0].RootFS.Layers
}

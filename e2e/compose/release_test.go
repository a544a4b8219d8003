//go:build compose

package compose_test

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/atlas-relay/atlas-relay/e2e/harness"
)

// What a release consists of.
const (
	archives = 4 + 4*4 // for each of four platforms an archive, and an SBOM of each program in it
	images   = 1 + 4   // all of them in one file, and an SBOM of each
)

// TestRelease makes a release of a tagged commit, whose last step looks at all of it (e2e/cmd/dist). Made again, in another
// directory, archives and SBOMs are the same to the last byte.
func TestRelease(t *testing.T) {
	s := theStack

	if !s.docker.Own {
		t.Skip("NOT TRIED: on an engine that is somebody's the images atlas-relay/… would be replaced")
	}

	t.Cleanup(func() { s.removeReleased(t) })

	first := s.make(t, "release")
	require.Len(t, first, archives+images)

	again := s.make(t, "archives")
	require.Len(t, again, archives)

	for name, sum := range again {
		require.Equal(t, first[name], sum, "%s differs between two builds", name)
	}
}

// make makes a target in a clone of its own that bears a tag, and returns the checksums of what that built, by name.
func (s *stack) make(t *testing.T, target string) map[string]string {
	t.Helper()

	const version = "v0.0.1"

	dir := filepath.Join(t.TempDir(), "clone")
	require.NoError(t, clone(t.Context(), dir))

	git := func(args ...string) {
		cmd := exec.CommandContext(t.Context(), "git", append([]string{"-C", dir, "-c", "user.name=test", "-c", "user.email=test@example.net"}, args...)...)
		// So that the commit is the same each time.
		cmd.Env = append(os.Environ(), "GIT_AUTHOR_DATE=2026-11-29T12:00:00Z", "GIT_COMMITTER_DATE=2026-11-29T12:00:00Z")

		out, err := cmd.CombinedOutput()
		require.NoError(t, err, "git %v: %s", args, out)
	}

	git("commit", "--quiet", "--all", "--allow-empty", "--message", "a release")
	git("tag", version)

	ctx, cancel := s.building(t)
	defer cancel()

	out, err := (&harness.Compose{Docker: s.docker, Dir: dir, Name: s.compose.Name, Env: ofGo()}).Make(ctx, target)
	require.NoError(t, err, "%s", out)
	require.Contains(t, out, "dist: "+version+": ")

	content, err := os.ReadFile(filepath.Join(dir, "dist", "SHA256SUMS"))
	require.NoError(t, err)

	sums := map[string]string{}

	for line := range strings.Lines(string(content)) {
		sum, name, found := strings.Cut(strings.TrimSpace(line), "  ")
		require.True(t, found, line)

		sums[name] = sum
	}

	return sums
}

// ofGo are the variables that tell go where modules are.
func ofGo() map[string]string {
	given := map[string]string{}

	for _, variable := range os.Environ() {
		if name, value, _ := strings.Cut(variable, "="); strings.HasPrefix(name, "GO") && name != "GOWORK" {
			given[name] = value
		}
	}

	return given
}

// removeReleased removes the images of a release from the engine.
func (s *stack) removeReleased(t *testing.T) {
	t.Helper()

	ctx := context.WithoutCancel(t.Context())

	ids, err := s.docker.Run(ctx, "image", "ls", "--quiet", "--filter", "reference=atlas-relay/*")
	require.NoError(t, err)

	for id := range strings.FieldsSeq(ids) {
		_, err := s.docker.Run(ctx, "rmi", "--force", id)
		require.NoError(t, err)
	}
}

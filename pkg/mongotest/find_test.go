package mongotest_test

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/atlas-relay/atlas-relay/pkg/mongotest"
	"github.com/atlas-relay/atlas-relay/pkg/settings"
)

// The programs on PATH are scripts here: what is tested is the decision, not the servers.

const (
	silent = "exit 0"
	failed = "exit 1"
	// cargo makes the file that a build would, and counts its runs.
	cargo = `while [ "$1" != --root ]; do shift; done
mkdir -p "$2/bin" && echo run >> "$2/runs" && sleep 0.1 && touch "$2/bin/secantusd-rs" && chmod +x "$2/bin/secantusd-rs"`
)

func TestFindTakesTheBestThatIsThere(t *testing.T) {
	t.Parallel()

	for name, c := range map[string]struct {
		options  mongotest.FindOptions
		programs map[string]string
		want     mongotest.Flavor
		better   string
	}{
		"a given uri wins": {
			options:  mongotest.FindOptions{URI: settings.NewURI("mongodb://host")},
			programs: map[string]string{"mongod": silent},
			want:     mongotest.Given,
		},
		"then mongod": {
			programs: map[string]string{"mongod": silent, "secantusd-rs": silent, "docker": silent},
			want:     mongotest.Mongod,
		},
		"then a rust stand-in that is there": {
			programs: map[string]string{"secantusd-rs": silent, "docker": silent, "cargo": failed},
			want:     mongotest.SecantusRust,
			better:   mongotest.InstallMongod,
		},
		"then docker": {
			programs: map[string]string{"docker": silent, "cargo": failed},
			want:     mongotest.MongodInDocker,
		},
		"a docker without an engine counts for nothing": {
			programs: map[string]string{"docker": failed, "cargo": cargo},
			want:     mongotest.SecantusRust,
			better:   mongotest.InstallMongod,
		},
		"else it builds the rust one": {
			programs: map[string]string{"cargo": cargo},
			want:     mongotest.SecantusRust,
			better:   mongotest.InstallMongod,
		},
		"or, for a person who waits, installs the python one": {
			options: mongotest.FindOptions{Quick: true},
			// The environment's own python is a copy of the script, as venv would make it.
			programs: map[string]string{"cargo": failed, "python3": `[ "$2" = venv ] || exit 0; mkdir -p "$4/bin" && cp "$0" "$4/bin/python"`},
			want:     mongotest.SecantusPython,
			better:   "cargo install secantus-mdb",
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()

			c.options.Path, c.options.CacheDir = path(t, c.programs), t.TempDir()

			choice, err := mongotest.Find(t.Context(), c.options)
			require.NoError(t, err)
			require.Equal(t, c.want, choice.Flavor)
			require.NotEmpty(t, choice.Why)
			require.Contains(t, choice.Better, c.better)
			require.Contains(t, choice.String(), choice.Why)

			again, err := mongotest.Find(t.Context(), c.options)
			require.NoError(t, err)
			require.Equal(t, choice.Path, again.Path)
		})
	}
}

func TestFindWithoutAnythingNamesTheRemedy(t *testing.T) {
	t.Parallel()

	programs := path(t, nil)

	_, err := mongotest.Find(t.Context(), mongotest.FindOptions{Path: programs, CacheDir: t.TempDir()})
	require.ErrorIs(t, err, mongotest.ErrNoServer)
	require.ErrorContains(t, err, "https://rustup.rs")

	_, err = mongotest.Find(t.Context(), mongotest.FindOptions{Path: programs, CacheDir: t.TempDir(), Quick: true})
	require.ErrorIs(t, err, mongotest.ErrNoServer)
	require.ErrorContains(t, err, "apt-get install python3")
}

func TestAFailedBuildIsReportedAndNotTaken(t *testing.T) {
	t.Parallel()

	programs := path(t, map[string]string{"cargo": "echo no compiler; exit 1"})

	var progress bytes.Buffer

	_, err := mongotest.Find(t.Context(), mongotest.FindOptions{Path: programs, CacheDir: t.TempDir(), Progress: &progress})
	require.ErrorIs(t, err, mongotest.ErrNoServer)
	require.Contains(t, progress.String(), "five minutes")
	require.Contains(t, progress.String(), "no compiler")
}

func TestProcessesThatAskTogetherBuildOnce(t *testing.T) {
	t.Parallel()

	programs := path(t, map[string]string{"cargo": cargo})

	cache := t.TempDir()

	var group sync.WaitGroup
	for range 4 {
		group.Go(func() {
			_, err := mongotest.Find(t.Context(), mongotest.FindOptions{Path: programs, CacheDir: cache})
			if err != nil {
				t.Error(err)
			}
		})
	}

	group.Wait()

	runs, err := filepath.Glob(filepath.Join(cache, "*", "runs"))
	require.NoError(t, err)
	require.Len(t, runs, 1)
	content, err := os.ReadFile(runs[0])
	require.NoError(t, err)
	require.Equal(t, "run\n", string(content))
}

func TestWaitingForAnotherInstallationEndsWithTheContext(t *testing.T) {
	t.Parallel()

	programs := path(t, map[string]string{"cargo": `exec sleep 60`})

	cache := t.TempDir()
	first, endFirst := context.WithCancel(t.Context())

	done := make(chan error, 1)
	go func() {
		_, err := mongotest.Find(first, mongotest.FindOptions{Path: programs, CacheDir: cache})
		done <- err
	}()

	require.Eventually(t, func() bool {
		_, err := os.Stat(filepath.Join(cache, "install.lock"))

		return err == nil
	}, waitLimit, tick)

	second, endSecond := context.WithTimeout(t.Context(), 10*tick)
	defer endSecond()

	_, err := mongotest.Find(second, mongotest.FindOptions{Path: programs, CacheDir: cache})
	require.ErrorIs(t, err, context.DeadlineExceeded)
	require.ErrorContains(t, err, "another installation")

	endFirst()
	require.ErrorIs(t, <-done, mongotest.ErrNoServer)
}

// path makes a directory with these scripts.
func path(t *testing.T, programs map[string]string) string {
	t.Helper()

	dir := t.TempDir()

	// A process that is forked while a script is open for writing would keep it from being executed ("text file busy").
	syscall.ForkLock.RLock()
	defer syscall.ForkLock.RUnlock()

	for name, script := range programs {
		tools := "PATH=/usr/bin:/bin\n"
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), []byte("#!/bin/sh\n"+tools+script+"\n"), 0o700))
	}

	return dir
}

package harness

import (
	"context"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

const (
	testDisk     = 16 << 20
	testPatience = time.Minute
)

// disk is one with a service that runs on it.
func disk(t *testing.T) (*Disk, *Service) {
	t.Helper()

	if err := DiskLacks(); err != nil {
		t.Skipf("NOT TESTED: %v", err)
	}

	d, err := NewDisk(t.Context(), t.TempDir(), "disk", testDisk)
	require.NoError(t, err)

	s := newService("sleeper", "/bin/sh", []string{"-c", `echo written > "$0/by-the-service" && exec sleep infinity`, d.Inside()}, nil, t.TempDir())
	s.mounts = d.namespace()
	require.NoError(t, s.Start())

	t.Cleanup(func() {
		require.NoError(t, s.Kill())
		require.NoError(t, d.Close())
		require.NoDirExists(t, d.Dir(), "its holder has ended")
	})

	ctx, cancel := context.WithTimeout(t.Context(), testPatience)
	defer cancel()

	require.NoError(t, Await(ctx, lookEvery, func(context.Context) (bool, error) {
		_, err := os.Stat(filepath.Join(d.Dir(), "by-the-service"))

		return err == nil, nil
	}))

	return d, s
}

// TestDiskIsItsOwn: what the service writes is there, and not in the directory of the same name outside.
func TestDiskIsItsOwn(t *testing.T) {
	t.Parallel()

	d, _ := disk(t)
	require.NoFileExists(t, filepath.Join(d.Inside(), "by-the-service"))
}

// TestDiskIsFull: what exceeds the room is refused as by any full disk, and taken once it is freed.
func TestDiskIsFull(t *testing.T) {
	t.Parallel()

	d, _ := disk(t)
	file := filepath.Join(d.Dir(), "data")

	require.NoError(t, d.Fill(64<<10))
	require.ErrorIs(t, os.WriteFile(file, make([]byte, 1<<20), 0o600), syscall.ENOSPC)
	require.NoError(t, d.Free())
	require.NoError(t, d.Free(), "freed once more")
	require.NoError(t, os.WriteFile(file, make([]byte, 1<<20), 0o600))
}

// TestDiskLosesWhatWasNotSynced: behind a cut the synced file is there, the other one has nothing, and the service has ended.
func TestDiskLosesWhatWasNotSynced(t *testing.T) {
	t.Parallel()

	d, s := disk(t)
	text := []byte("whatever it is")

	for range 2 { // once more on the disk of before
		require.NoError(t, os.WriteFile(filepath.Join(d.Dir(), "synced"), text, 0o600))
		require.NoError(t, d.Sync(t.Context()))
		require.NoError(t, os.WriteFile(filepath.Join(d.Dir(), "lost"), text, 0o600))
		require.NoError(t, d.CutPower(t.Context(), s))
		require.False(t, s.Runs())

		found, err := os.ReadFile(filepath.Join(d.Dir(), "synced"))
		require.NoError(t, err)
		require.Equal(t, text, found)

		if found, err = os.ReadFile(filepath.Join(d.Dir(), "lost")); err == nil {
			require.Empty(t, found)
		}

		require.NoError(t, s.Start())
	}
}

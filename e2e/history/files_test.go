package history_test

import (
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/atlas-relay/atlas-relay/e2e/history"
)

// TestRecordsAreReadAsTheyWereWritten from many goroutines at once, bytes untouched.
func TestRecordsAreReadAsTheyWereWritten(t *testing.T) {
	t.Parallel()

	folder := t.TempDir()

	file, err := history.Create[history.Change](folder, history.SourceFile)
	require.NoError(t, err)

	_, err = history.Create[history.Change](folder, history.SourceFile)
	require.ErrorIs(t, err, os.ErrExist, "a record is never overwritten")

	var writers sync.WaitGroup

	at := time.Now()

	for n := range 8 {
		writers.Go(func() {
			for range 100 {
				_ = file.Add(history.Change{Time: at, Event: []byte{0, 0xff, byte(n), '\n'}})
			}
		})
	}

	writers.Wait()
	require.NoError(t, file.Close())

	seen := map[byte]int{}

	require.NoError(t, history.Each(folder, history.SourceFile, func(c *history.Change) error {
		require.True(t, c.Time.Equal(at))
		require.Len(t, c.Event, 4)
		require.Equal(t, []byte{0, 0xff}, c.Event[:2])

		seen[c.Event[2]]++

		return nil
	}))
	require.Len(t, seen, 8)

	for _, times := range seen {
		require.Equal(t, 100, times)
	}
}

func TestWhatIsCutOffIsDamaged(t *testing.T) {
	t.Parallel()

	folder := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(folder, history.WritesFile), []byte("{\"v\":1}\n{\"v\":2"), 0o600))

	read := 0
	err := history.Each(folder, history.WritesFile, func(*history.Write) error { read++; return nil })
	require.ErrorIs(t, err, history.ErrDamaged)
	require.ErrorContains(t, err, "line 2")
	require.Equal(t, 1, read)

	err = history.Each(folder, history.FaultsFile, func(*history.Fault) error { return nil })
	require.ErrorIs(t, err, os.ErrNotExist)

	_, err = history.ReadMeta(folder)
	require.ErrorIs(t, err, os.ErrNotExist)
}

func TestScope(t *testing.T) {
	t.Parallel()

	some := history.Meta{Namespaces: []string{"shop.*", "crm.people"}}
	for ns, included := range map[string]bool{
		"shop.orders": true, "shop.a.b": true, "shopping.orders": false, "crm.people": true, "crm.peoples": false,
		"atlas_relay.checkpoints": false, history.SentinelDatabase + ".ends": false,
	} {
		require.Equal(t, included, some.Includes(ns), ns)
	}

	all := history.Meta{}
	require.True(t, all.Includes("shop.orders"))
	require.False(t, all.Includes("local.oplog.rs"))
	require.False(t, all.Includes(history.SentinelDatabase+".ends"))
}

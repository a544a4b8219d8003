package park_test

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/atlas-relay/atlas-relay/pkg/parked"
)

// TestAnyHistoryWithPoisonEndsRight: see the same test of package ownership, which has a real target. Documents are held
// for a while, and no event of theirs is given up for it.
func TestAnyHistoryWithPoisonEndsRight(t *testing.T) {
	t.Parallel()

	paused := 0
	defer func() { require.NotZero(t, paused, "nothing was held") }()

	rapid.Check(t, func(t *rapid.T) {
		w := newWorld(t, rapid.IntRange(0, 2).Draw(t, "retries"))

		for range rapid.IntRange(1, 40).Draw(t, "events") {
			key := fmt.Sprintf("d%d", rapid.IntRange(0, 5).Draw(t, "key"))
			bad := rapid.SampledFrom([]int{0, 0, 1}).Draw(t, "bad")
			_, exists := w.last()[key]

			switch kind := rapid.SampledFrom([]string{"put", "v", "v", "bad", "remove"}).Draw(t, "kind"); {
			case !exists || kind == "put":
				w.add(change{key: key, whole: true, image: document{u: 1000 + int(key[1]), bad: bad == 1}})
			case kind == "remove":
				w.add(change{key: key, whole: true, removes: true})
			default:
				w.add(change{key: key, field: kind, value: bad})
			}
		}

		w.play(true)

		paused += w.paused

		dead := map[string]bool{}
		for _, r := range w.records {
			require.NotEqual(t, parked.Waiting, r.State)
			dead[string(r.Key.Data)] = dead[string(r.Key.Data)] || r.State == parked.Dead
		}

		for key, doc := range w.last() {
			require.Equal(t, doc.bad, dead[key], "%s: %v", key, w.describe())
		}

		for k := range 6 {
			key := fmt.Sprintf("d%d", k)
			if want, exists := w.last()[key]; !want.bad {
				got, has := w.docs[key]
				require.Equal(t, exists, has, key)
				require.Equal(t, want, got, key)
			}
		}
	})
}

// TestAnyHistoryWithAUniqueIndexEndsEqual: documents that hand values on need no dead letter.
func TestAnyHistoryWithAUniqueIndexEndsEqual(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		w := newWorld(t, 2)

		for range rapid.IntRange(1, 40).Draw(t, "events") {
			key := fmt.Sprintf("d%d", rapid.IntRange(0, 5).Draw(t, "key"))
			u := rapid.SampledFrom(w.free(key)).Draw(t, "u")
			_, exists := w.last()[key]

			switch kind := rapid.SampledFrom([]string{"put", "v", "u", "u", "remove"}).Draw(t, "kind"); {
			case !exists || kind == "put":
				w.add(change{key: key, whole: true, image: document{u: u}})
			case kind == "remove":
				w.add(change{key: key, whole: true, removes: true})
			default:
				w.add(change{key: key, field: kind, value: u})
			}
		}

		w.play(false)
		require.Empty(t, w.describe())
		require.Equal(t, w.last(), w.docs)
	})
}

func (w *world) free(key string) (list []int) {
	for u := 1; u <= 7; u++ {
		taken := false

		for other, doc := range w.last() {
			taken = taken || other != key && doc.u == u
		}

		if !taken {
			list = append(list, u)
		}
	}

	return list
}

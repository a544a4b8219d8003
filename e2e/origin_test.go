package e2e_test

import (
	"math/rand/v2"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/atlas-relay/atlas-relay/e2e/harness"
	relayv1 "github.com/atlas-relay/atlas-relay/proto/relay/v1"
)

const sampleEvery = 500 * time.Millisecond

// TestTwoWaysDoNotEcho writes on both sides of two flows in opposite directions, and kills their listeners and processors
// in random order, each at least once.
func TestTwoWaysDoNotEcho(t *testing.T) {
	m := openMesh(t, 2)
	ways := []*way{m.flow("there", 0, 1, "back"), m.flow("back", 1, 0, "there")}
	random := rand.New(rand.NewPCG(m.seed, 0))

	m.write([]int{0, 1}, func() {
		order := random.Perm(2 * len(ways))
		for _, number := range append(order, order[:2]...) {
			w := ways[number%len(ways)]
			service := []*harness.Service{w.Listener, w.Processors()[0]}[number/len(ways)]

			m.progress(w, 50+random.Uint64N(steady/2))
			require.NoError(t, service.Kill())
			require.NoError(t, service.Start())
		}

		for _, w := range ways {
			m.progress(w, steady/2)
		}
	})
	m.finish()

	for _, w := range ways {
		m.exact(w)
	}
}

// TestChainPassesOn writes at the first of three databases: the second flow takes what the first has written.
func TestChainPassesOn(t *testing.T) {
	m := openMesh(t, 3)
	m.flow("a-to-b", 0, 1)
	last := m.flow("b-to-c", 1, 2)

	m.write([]int{0}, func() { m.progress(last, steady) })
	m.finish()
}

// TestHubPassesOn has two spokes with two ways each to a hub: what one spoke writes reaches the other through the hub,
// and comes back to nobody.
func TestHubPassesOn(t *testing.T) {
	const hub, left, right = 0, 1, 2

	m := openMesh(t, 3)
	m.flow("left-in", left, hub, "left-out")
	m.flow("right-in", right, hub, "right-out")
	toLeft, toRight := m.flow("left-out", hub, left, "left-in"), m.flow("right-out", hub, right, "right-in")

	m.write([]int{hub, left, right}, func() {
		m.progress(toLeft, steady)
		m.progress(toRight, steady)
	})
	m.finish()
}

// progress waits until this many more changes are applied.
func (m *mesh) progress(w *way, changes uint64) {
	m.t.Helper()

	from := m.await(w, "an answer", func(s *relayv1.Stats) bool { return s.ProcessedChanges != nil }).GetProcessedChanges()
	m.await(w, "progress", func(s *relayv1.Stats) bool { return s.GetProcessedChanges() >= from+changes })
}

package e2e_test

import (
	"context"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"

	"github.com/atlas-relay/atlas-relay/e2e/harness"
	"github.com/atlas-relay/atlas-relay/e2e/traffic"
	"github.com/atlas-relay/atlas-relay/e2e/verify/live"
	"github.com/atlas-relay/atlas-relay/pkg/mongotest"
	relayv1 "github.com/atlas-relay/atlas-relay/proto/relay/v1"
)

// mesh is several databases with flows between them, and traffic on some.
type mesh struct {
	t     *testing.T
	ctx   context.Context // of the test; ends early, with the reason, when people can no longer write
	fail  context.CancelCauseFunc
	world *harness.World
	db    string
	seed  uint64
	sites []*site
	ways  []*way
}

// site is one database.
type site struct {
	place   harness.Place
	traffic *traffic.Traffic // nil where nobody but the flows writes
	order   *live.Order      // every change of a document there, whoever made it
	watched chan error
}

// way is one flow.
type way struct {
	*harness.Relay

	from, to *site
}

func openMesh(t *testing.T, sites int) *mesh {
	t.Helper()

	find := func() mongotest.Choice {
		choice, err := mongotest.Find(t.Context(), mongotest.FindOptions{Progress: os.Stderr})
		require.NoError(t, err)

		return choice
	}

	world, err := harness.StartWorld(t.Context(), harness.WorldOptions{Programs: programs, Source: find(), Target: find(), SyncOnCommit: true})
	require.NoError(t, err)

	m := &mesh{t: t, world: world, db: "e2e_" + bson.NewObjectID().Hex(), seed: seed(t)}

	m.ctx, m.fail = context.WithCancelCause(t.Context())

	t.Cleanup(m.close)

	places := []harness.Place{world.Source, world.Target}
	for len(places) < sites {
		place, err := world.Add(t.Context(), find(), true)
		require.NoError(t, err)

		places = append(places, place)
	}

	for _, place := range places {
		// Making a collection is an event too: no processor shall have to.
		for at := range places {
			require.NoError(t, m.trafficAt(place, at).Prepare(t.Context()))
		}

		s := &site{place: place, watched: make(chan error, 1)}
		s.order, err = live.NewOrder(t.Context(), place.Client.Database(m.db), nil)
		require.NoError(t, err)

		m.sites = append(m.sites, s)
	}

	return m
}

// options make traffic with collections of its own: where two write to one, the stand-in answers inserts with write
// conflicts outside of transactions after it has made a part of them, and the driver's retry then fails.
func (m *mesh) options(site int) traffic.Options {
	return traffic.Options{Seed: m.seed + uint64(site), Rate: steady / 2, Suffix: "_" + strconv.Itoa(site)}
}

func (m *mesh) trafficAt(place harness.Place, site int) *traffic.Traffic {
	return traffic.New(place.Client.Database(m.db), m.options(site))
}

func (m *mesh) database(s *site) *mongo.Database { return s.place.Client.Database(m.db) }

// flow makes and starts a flow.
func (m *mesh) flow(name string, from, to int, skip ...string) *way {
	m.t.Helper()

	var namespaces []string

	for i := range m.sites {
		for _, coll := range m.options(i).Collections() { // not what ends a recording
			namespaces = append(namespaces, m.db+"."+coll)
		}
	}

	env := map[string]string{"INCLUDE_NAMESPACES": strings.Join(namespaces, ","), "LEASE_TTL": "2s", "PARTITIONS": "4", "STREAM_MAX_BYTES": "1GiB"}
	if len(skip) > 0 {
		env["SKIP_ORIGINS"] = strings.Join(skip, ",")
	}

	relay, err := m.world.Between(m.t.Context(), programs, name, m.sites[from].place, m.sites[to].place, env)
	require.NoError(m.t, err)

	w := &way{Relay: relay, from: m.sites[from], to: m.sites[to]}
	m.ways = append(m.ways, w)

	require.NoError(m.t, w.Init(m.t.Context()))
	require.NoError(m.t, w.Start())

	return w
}

func (m *mesh) await(w *way, what string, condition func(*relayv1.Stats) bool) *relayv1.Stats {
	m.t.Helper()

	ctx, cancel := context.WithTimeout(m.ctx, patience)
	defer cancel()

	sample, err := w.Await(ctx, what, condition)
	require.NoError(m.t, err)

	return sample
}

// write lets people write at these sites while run lasts.
func (m *mesh) write(sites []int, run func()) {
	m.t.Helper()

	for _, w := range m.ways {
		m.await(w, "a flow that replicates", harness.Replicating)
	}

	for _, s := range m.sites {
		go func() { s.watched <- s.order.Run(m.t.Context()) }()
	}

	end, running := make(chan struct{}), make(chan error, len(sites))

	for _, i := range sites {
		s := m.sites[i]
		s.traffic = m.trafficAt(s.place, i)

		go func() {
			err := s.traffic.RunUntil(m.t.Context(), end)
			if err != nil {
				m.fail(err)
			}

			running <- err
		}()
	}

	run()
	close(end)

	for range sites {
		require.NoError(m.t, <-running)
	}
}

// written is how many changes people made at these sites.
func (*mesh) written(sites ...*site) (n uint64) {
	for _, s := range sites {
		if s.traffic != nil {
			n += s.traffic.Journal().Changes()
		}
	}

	return n
}

// finish waits until every way has brought as many changes as at least are to pass, that nothing is pending anywhere,
// and that all sites are equal. Then every document's version must only have grown at each site: an echo would bring one
// twice. Each way has counted every change of a document at its source, and only those that it skipped are not applied.
func (m *mesh) finish() {
	m.t.Helper()

	for _, s := range m.sites[1:] {
		var difference any = "not compared"

		equal := func(ctx context.Context) (bool, error) {
			result, err := live.Compare(ctx, m.database(m.sites[0]), m.database(s))
			if difference = err; err == nil {
				difference = result.Differences
			}

			return err == nil && result.Equal() && result.Documents > 0, nil
		}

		ctx, cancel := context.WithTimeout(m.t.Context(), patience)
		err := harness.Await(ctx, sampleEvery, equal)

		cancel()
		require.NoError(m.t, err, "the sites differ: %v", difference)
	}

	for _, w := range m.ways {
		m.await(w, "nothing pending", harness.Applied(m.written(w.from)))
	}

	for _, s := range m.sites {
		require.NoError(m.t, s.order.Finish(m.t.Context()))
		require.NoError(m.t, <-s.watched)

		_, err := s.order.Verdict()
		require.NoError(m.t, err)
	}
}

// exact requires that a way has counted all that happened at its source, and skipped all but these changes: of people,
// or of flows that pass. The end of the recording at its source is skipped too.
func (m *mesh) exact(w *way) {
	m.t.Helper()

	events, err := w.from.order.Verdict()
	require.NoError(m.t, err)

	total := uint64(events)
	sample := m.await(w, "every change counted", func(s *relayv1.Stats) bool {
		return s.GetConsistent() && s.GetPendingChanges() == 0 && s.GetTotalChanges() >= total+live.EndEvents
	})
	people := m.written(w.from)

	require.Equal(m.t, total+live.EndEvents, sample.GetTotalChanges())
	require.Equal(m.t, total+live.EndEvents-people, sample.GetSkippedChanges(), "skipped: what the other flow wrote, and the end of the recording")
	require.NoError(m.t, live.Counters(sample, people, 0))
	require.Greater(m.t, total, people, "the other flow wrote nothing")
}

func (m *mesh) close() {
	ctx := context.WithoutCancel(m.t.Context())

	for _, w := range slices.Backward(m.ways) {
		if m.t.Failed() {
			for _, service := range w.Services() {
				m.t.Logf("the log of %s ends:\n%s", service.LogFile(), service.LastWords())
			}
		}

		require.NoError(m.t, w.Stop(ctx))
	}

	require.NoError(m.t, m.world.Stop(ctx))
}

package e2e_test

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"text/tabwriter"
	"time"

	"github.com/stretchr/testify/require"
	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/atlas-relay/atlas-relay/e2e/harness"
	"github.com/atlas-relay/atlas-relay/e2e/views"
)

// watched is a flow, with everything that looks at it.
type watched struct {
	*views.Views

	scenario *scenario
	browser  *browser
	records  []telling // of what was broken
}

// viewsEvery is from one look to the next.
const viewsEvery = 200 * time.Millisecond

// watch opens the page of a flow and prepares the other views.
func (s *scenario) watch() *watched {
	s.t.Helper()

	w := &watched{scenario: s, browser: browse(s.t, s.relay.PageURL())}
	w.Views = views.New(views.Options{
		Flow: "test", PageURL: s.relay.PageURL(), GRPCAddr: s.relay.GRPCAddr(), Relayctl: programs.Path(harness.Relayctl), Dir: s.world.Dir,
		Every: viewsEvery, Evaluate: views.InTab(w.browser.ctx, patience), Scrape: s.scrape,
	})

	return w
}

// scrape reads the series of the stats service as Prometheus does.
func (s *scenario) scrape(ctx context.Context) (views.Series, error) {
	body, err := s.relay.Stats.Scrape(ctx)
	if err != nil {
		return nil, err
	}
	defer body.Close()

	return views.ParseSeries(body)
}

// breakage is something that an operator has to see: the reason that names it, in this status.
type breakage struct {
	name       string
	begin, end func() error
	status     string
	reason     func() string // asked after the begin
	passes     bool          // it is told for a while only: an instance that says nothing is taken for gone after 15 s
}

// telling is when each view told of a breakage, and of its end.
type telling struct {
	breakage

	named, gone, fine map[string]time.Duration // by view; since its begin, and since its end
}

// Goals, which are printed beside what was measured: a test does not fail because a machine is busy.
const (
	namedGoal = 3 * time.Second // shortLease and one
	goneGoal  = 3 * time.Second
)

// overlapping is for how long faults come without a pause.
const overlapping = 15 * time.Second

// breakages are one of each kind. That an instance says nothing is seen when its lease has ended.
func (s *scenario) breakages(lift func()) []breakage {
	victims := s.relay.Processors()
	silent := func(service *harness.Service) func() string {
		return func() string { return fmt.Sprintf("(process %d) has said nothing", service.Process().PID()) }
	}
	is := func(reason string) func() string { return func() string { return reason } }

	return []breakage{
		{"kill -9 of a processor", victims[2].Kill, victims[2].Start, "DEGRADED", silent(victims[2]), true},
		{"a processor freezes", victims[1].Freeze, victims[1].Thaw, "DEGRADED", silent(victims[1]), true},
		{"a standby freezes", s.relay.Listeners()[1].Freeze, s.relay.Listeners()[1].Thaw, "DEGRADED", silent(s.relay.Listeners()[1]), true},
		{"kill -9 of the active listener", s.relay.Listener.Kill, s.relay.Listener.Start, "DEGRADED", silent(s.relay.Listener), true},
		{"the target is down", s.world.Target.Server.Kill, func() error { return s.world.Target.Server.Restart(s.t.Context()) }, "UNKNOWN", is("target: "), false},
		{"NATS restarts", func() error { return s.world.NATS.Stop(s.t.Context()) }, s.world.NATS.Start, "UNKNOWN", is("NATS: "), false},
		{"a document that the target refuses", func() error {
			s.place(bson.D{{Key: "_id", Value: "poison"}, {Key: "v", Value: int64(1)}, {Key: "bad", Value: true}})
			s.others, s.failed = 1, 1

			return nil
		}, func() error {
			lift()

			out, code, err := s.relay.Ctl(s.t.Context(), "dead-letters", "replay", "--all", "--yes", "--reason", "the rule is gone")
			if err == nil && code != 0 {
				err = fmt.Errorf("exit code %d: %s", code, out)
			}

			if err != nil {
				return err
			}

			ctx, cancel := context.WithTimeout(s.t.Context(), patience)
			defer cancel()

			return harness.Await(ctx, 100*time.Millisecond, func(ctx context.Context) (bool, error) {
				n, err := s.target().Collection("orders").CountDocuments(ctx, bson.D{{Key: "_id", Value: "poison"}})

				return n == 1, err
			})
		}, "DIVERGED", is("dead letters: 1"), false},
	}
}

// await waits until every view has told so of a sample taken after a moment, and returns how long after it each did. What
// passes by itself may be missed by a view that is slow just then, but not by all.
func (v *watched) await(after time.Time, what string, passes bool, holds func(*views.Look) bool) map[string]time.Duration {
	v.scenario.t.Helper()

	var told map[string]time.Duration

	ctx, cancel := context.WithTimeout(v.scenario.t.Context(), patience)
	defer cancel()

	err := harness.Await(ctx, 100*time.Millisecond, func(context.Context) (bool, error) {
		told = v.First(after, holds)
		_, scraped := told[views.Prometheus] // it has the status alone, which may have another reason
		named := len(told) > 1 || len(told) == 1 && !scraped
		passed := passes && named && !slices.ContainsFunc(v.Last(), func(l views.Look) bool { return holds(&l) })

		return passed || len(told) == len(views.All()), nil
	})
	require.NoError(v.scenario.t, err, "%s, told by %v; the last look: %v", what, told, v.Last())

	return told
}

// breakAndMend breaks something, until every view has named it, and mends it, until every view says that all is fine.
func (v *watched) breakAndMend(b breakage) {
	t := v.scenario.t
	t.Helper()

	begin := time.Now()

	require.NoError(t, b.begin())

	reason := b.reason()
	names := func(l *views.Look) bool {
		reasons, has := l.Facts[views.FactReasons]

		return l.Facts[views.FactStatus] == b.status && (!has || strings.Contains(reasons, reason))
	}
	r := telling{breakage: b, named: v.await(begin, b.name, b.passes, names)}
	end := time.Now()

	require.NoError(t, b.end())

	r.fine = v.await(end, b.name+" is over", false, (*views.Look).IsFine)
	r.gone = v.First(end, func(l *views.Look) bool { return !names(l) })
	v.records = append(v.records, r)
}

// table is when each view told of what was broken.
func (v *watched) table() string {
	var text strings.Builder

	writer := tabwriter.NewWriter(&text, 0, 0, 2, ' ', 0) //nolint:mnd // blanks between columns
	fmt.Fprintf(writer, "\nseconds until\t%s\tgoal\n", strings.Join(views.All(), "\t"))

	row := func(what string, told map[string]time.Duration, goal string) {
		cells := make([]string, 0, len(told))

		for _, view := range views.All() {
			cell := "-"
			if after, known := told[view]; known {
				cell = fmt.Sprintf("%.1f", after.Seconds())
			}

			cells = append(cells, cell)
		}

		fmt.Fprintf(writer, "%s\t%s\t%s\n", what, strings.Join(cells, "\t"), goal)
	}

	for _, r := range v.records {
		row(r.name+" is named", r.named, namedGoal.String())
		row("— is gone", r.gone, goneGoal.String())
		row("— all is fine", r.fine, "")
	}

	_ = writer.Flush()

	return text.String()
}

// agree checks that no view ever told otherwise than another one, and that all of them were compared.
func (v *watched) agree() {
	t := v.scenario.t
	t.Helper()

	verdict := v.Compare()
	t.Log(verdict)

	require.Empty(t, verdict.Disagreements)
	require.Empty(t, verdict.Backwards)
	require.Positive(t, verdict.Consistent)
	require.Greater(t, verdict.OfASample, 5, "the screen never agreed with a sample")

	// A relayctl that asks once has a sample of its own as a rule: it is held against the ones before and after.
	for _, view := range []string{views.Page, views.Events, views.JSON, views.Watch, views.Prometheus} {
		require.Greater(t, verdict.Shared[view], 5, "%s was compared too seldom", view)
	}
}

// TestViewsAgreeUnderChaos looks at one flow in every way there is while it is broken in every way that an operator has
// to see: each sample is the same wherever it is seen, its sum is right, no cumulative number goes back, and each fault is
// named while it lasts.
func TestViewsAgreeUnderChaos(t *testing.T) {
	env := quickToFail()
	env["LEASE_TTL"] = shortLease

	s := openWith(t, env)
	lift := s.picky()
	s.rate = steady / 3
	s.write()
	require.NoError(t, s.relay.Scale(t.Context(), 3))
	require.NoError(t, s.relay.AddListener(s.t.Context(), nil).Start())

	v := s.watch()

	ctx, cancel := context.WithCancel(t.Context())
	looking := make(chan error, 1)

	go func() { looking <- v.Run(ctx) }()

	defer func() {
		cancel()
		require.NoError(t, <-looking)
		http.DefaultClient.CloseIdleConnections()
	}()

	v.await(time.Now(), "a flow that is fine", false, (*views.Look).IsFine)

	for _, b := range s.breakages(lift) {
		v.breakAndMend(b)
	}

	// As in the demo: faults that overlap, and nobody waits until they are told of.
	s.comeAndGo(overlapping)
	v.await(time.Now(), "a flow that is fine again", false, (*views.Look).IsFine)

	s.finish()
	cancel()
	t.Log(v.table())
	v.agree()
	v.browser.requireNoTrouble()
}

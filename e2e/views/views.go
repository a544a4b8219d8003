package views

import (
	"context"
	"errors"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	relayv1 "github.com/atlas-relay/atlas-relay/proto/relay/v1"
)

// The ways in which a flow can be looked at.
const (
	Page       = "page"
	Events     = "server-sent events"
	JSON       = "JSON"
	Watch      = "relayctl stats --watch"
	Stats      = "relayctl stats"
	Status     = "relayctl status"
	Top        = "relayctl top"
	Prometheus = "Prometheus"
)

// All are the ways, in the order of tables.
func All() []string { return []string{Page, Events, JSON, Watch, Stats, Status, Top, Prometheus} }

// What a look tells; Unknown where the view says so.
const (
	FactStatus  = "status"
	FactReasons = "reasons" // one a line; missing where a view has no words
	FactSilent  = "silent instances"

	factAddsUp   = "adds up"
	factTotal    = "captured"
	factDead     = "dead letters"
	factPending  = "pending"
	factGone     = "gone instances"
	factPrefixed = "changes " // with the result
)

// Unknown is what a view tells of what is not known.
const Unknown = "unknown"

// cumulative are the facts that never go back.
func cumulative() []string {
	return []string{factTotal, factPrefixed + "processed", factPrefixed + "failed", factPrefixed + "skipped"}
}

// sampleTime names a sample, in microseconds: Prometheus has it as a float.
type sampleTime int64

func sampleTimeOf(seconds float64) sampleTime { return sampleTime(math.Round(seconds * 1e6)) }

// Look is what a view told at a moment.
type Look struct {
	View   string
	Facts  map[string]string
	Sample time.Time // when that was taken that the view told of; zero where it does not say so
	Seen   time.Time // when it could be read
}

// IsFine tells whether it says that all is well.
func (l *Look) IsFine() bool { return l.Facts[FactStatus] == "OK" && l.Facts[FactReasons] == "" }

// when is the moment that it tells of.
func (l *Look) when() time.Time {
	if l.Sample.IsZero() {
		return l.Seen
	}

	return l.Sample
}

// Series finds the value of a series by its name and one of its labels; Unknown where there is none.
type Series func(name, label, is string) string

// Options say where to look.
type Options struct {
	Flow     string
	PageURL  string // of the page, with a slash at its end
	GRPCAddr string
	Relayctl string        // path of the program
	Dir      string        // that relayctl has as its home
	Every    time.Duration // from one look to the next of a view that does not go on by itself

	// Evaluate returns what an expression is in the page, which a browser shows.
	Evaluate func(ctx context.Context, expression string) (string, error)
	// Scrape reads the series of the stats service.
	Scrape func(ctx context.Context) (Series, error)
}

// Views collects what all of them tell. Its methods may be called while it runs.
type Views struct {
	options Options

	mu      sync.Mutex
	looks   map[sampleTime][]Look // by their sample; guarded by mu
	screens []Look                // of relayctl top, in order; guarded by mu
	sample  *relayv1.Stats        // the latest that any view told of in full; guarded by mu
}

// Owns tells whether the processor with this process owned partitions when it was looked last.
func (v *Views) Owns(pid int) bool {
	v.mu.Lock()
	defer v.mu.Unlock()

	return slices.ContainsFunc(v.sample.GetInstances(), func(i *relayv1.InstanceStats) bool {
		return i.GetInstance().GetPid() == int64(pid) && i.GetPartitions() > 0
	})
}

// New returns views that nobody has looked at.
func New(o Options) *Views { return &Views{options: o, looks: map[sampleTime][]Look{}} }

func (v *Views) add(view string, at sampleTime, facts map[string]string) {
	v.mu.Lock()
	defer v.mu.Unlock()

	// Some are looked at more often than they have something new.
	if slices.ContainsFunc(v.looks[at], func(l Look) bool { return l.View == view && maps.Equal(l.Facts, facts) }) {
		return
	}

	v.looks[at] = append(v.looks[at], Look{View: view, Facts: facts, Sample: time.UnixMicro(int64(at)), Seen: time.Now()})
}

// addStats adds a sample as relay.v1 has it.
func (v *Views) addStats(view string, s *relayv1.Stats) {
	number := func(n *uint64) string {
		if n == nil {
			return Unknown
		}

		return strconv.FormatUint(*n, 10)
	}

	// The getters have 0 for what is unknown.
	total, processed, skipped := s.TotalChanges, s.ProcessedChanges, s.SkippedChanges
	facts := map[string]string{
		FactStatus: strings.TrimPrefix(s.GetStatus().String(), "STATUS_"), FactReasons: strings.Join(s.GetReasons(), "\n"),
		factTotal: number(total), factDead: number(s.DeadLetters), factPending: number(s.PendingChanges), //nolint:protogetter // see above
		factPrefixed + "processed": number(processed), factPrefixed + "failed": number(s.FailedChanges), //nolint:protogetter // see above
		factPrefixed + "skipped": number(skipped), factAddsUp: Unknown,
	}

	if len(s.GetInstances()) > 0 {
		silent, gone := 0, 0

		for _, i := range s.GetInstances() {
			if i.GetIsSilent() {
				silent++
			}

			if i.GetIsGone() {
				gone++
			}
		}

		facts[FactSilent], facts[factGone] = strconv.Itoa(silent), strconv.Itoa(gone)
	}

	if s.AddsUp != nil {
		facts[factAddsUp] = strconv.FormatBool(s.GetAddsUp())
	}

	v.add(view, sampleTimeOf(float64(s.GetSampleTime().AsTime().UnixNano())/1e9), facts)

	v.mu.Lock()
	defer v.mu.Unlock()

	if s.GetSampleTime().AsTime().After(v.sample.GetSampleTime().AsTime()) {
		v.sample = s
	}
}

// Run looks until ctx ends. A view that does not answer tells nothing.
func (v *Views) Run(ctx context.Context) error {
	group, ctx := errgroup.WithContext(ctx)
	asked := make(chan struct{}, 1) // a sample has just been taken: who asks now may get that one

	look := func(see func(context.Context) error) {
		group.Go(func() error {
			v.again(ctx, see)

			return nil
		})
	}

	look(func(ctx context.Context) error { return v.readEvents(ctx, asked) })
	look(v.readWatch)
	look(v.readPage)
	look(v.readTop)
	look(func(ctx context.Context) error {
		select {
		case <-asked:
		case <-ctx.Done():
		}

		return errors.Join(v.readScrape(ctx), v.readJSON(ctx))
	})

	for view, args := range map[string][]string{Stats: {"stats", "-o", "json"}, Status: {"status", "-o", "json"}} {
		look(func(ctx context.Context) error { return v.readCtl(ctx, view, args...) })
	}

	return group.Wait()
}

// again looks again and again; what goes wrong is what an operator sees of a fault.
func (v *Views) again(ctx context.Context, see func(context.Context) error) {
	for ctx.Err() == nil {
		_ = see(ctx)

		timer := time.NewTimer(v.options.Every)

		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
		}
	}
}

// Looks are all of them in the order in which they could be read.
func (v *Views) Looks() []Look {
	v.mu.Lock()
	defer v.mu.Unlock()

	all := slices.Clone(v.screens)
	for _, looks := range v.looks {
		all = append(all, looks...)
	}

	slices.SortStableFunc(all, func(a, b Look) int { return a.Seen.Compare(b.Seen) })

	return all
}

// First is how long after a moment each view told so first, of something later than that.
func (v *Views) First(after time.Time, holds func(*Look) bool) map[string]time.Duration {
	told := map[string]time.Duration{}

	for _, l := range v.Looks() {
		if _, known := told[l.View]; !known && l.when().After(after) && holds(&l) {
			told[l.View] = l.Seen.Sub(after)
		}
	}

	return told
}

// Last are the looks at the latest sample, and at the terminal.
func (v *Views) Last() []Look {
	v.mu.Lock()
	defer v.mu.Unlock()

	if len(v.looks) == 0 {
		return nil
	}

	last := slices.Clone(v.looks[slices.Max(slices.Collect(maps.Keys(v.looks)))])
	if len(v.screens) > 0 {
		last = append(last, v.screens[len(v.screens)-1])
	}

	return last
}

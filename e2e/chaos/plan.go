package chaos

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/atlas-relay/atlas-relay/e2e/chaos/load"
	"github.com/atlas-relay/atlas-relay/pkg/failpoint"
)

// Plan is all that a seed decides.
type Plan struct {
	Seed       uint64
	Changes    int
	Lease      time.Duration
	Partitions int
	Processors int
	Schema     bool
	Replicated bool // NATS is three servers, each with all of the stream
	Standalone bool // the target has no transactions, and no change stream that could be recorded
	Oplog      int  // entries that the source keeps; 0: more than the run has
	Load       load.Options
	Steps      []Step
	Armed      map[string][]failpoint.Armed // by service
}

// Step is a fault and its moment.
type Step struct {
	Number int    // in the seed's schedule, from 1
	At     uint64 // changes
	Class  Class
	Fault  Fault
}

// String is the step for people.
func (s Step) String() string {
	return fmt.Sprintf("%d. at change %d: %s: %s", s.Number, s.At, s.Class.Name, s.Fault)
}

const (
	// spacing is how many changes lie between two faults: enough for at least a hundred to fall into one. A fast load has
	// more of them, so that the relay recovers from most faults before the next one.
	spacing     = 350
	spacingTime = 1250 * time.Millisecond
	// historyOplog is what the source keeps in a run that ends with lost history: more than the run has before that.
	historyOplog = 20_000

	lease = 2 * time.Second
)

// NewPlan decides everything. The same arguments give the same plan. One of which only some steps are taken has those at
// the moments of the whole.
func NewPlan(o *Options) *Plan {
	r := rand.New(rand.NewPCG(o.Seed, 1))

	p := &Plan{
		Seed: o.Seed, Changes: o.Changes, Lease: lease, Armed: map[string][]failpoint.Armed{},
		Partitions: []int{4, 6, 8}[r.IntN(3)],
		Processors: 2 + r.IntN(2),
		Schema:     r.IntN(3) == 0,
	}

	p.Load = load.Options{Seed: o.Seed, Changes: o.Changes, Writers: 3, Rate: o.Rate, Schema: p.Schema}

	if !o.Short {
		p.Load.Large = r.IntN(3)

		if r.IntN(3) == 0 {
			p.Load.Quiet = 11 * time.Second // an idle stream gets a marker after ten
		}
	}

	if !o.Short {
		p.Standalone = r.IntN(8) == 0 && !p.Schema
		p.Replicated = r.IntN(6) == 0
	}

	p.schedule(r, o)
	p.arm(r)

	if o.Steps != nil {
		p.Steps = slices.DeleteFunc(p.Steps, func(s Step) bool { return !slices.Contains(o.Steps, s.Number) })
	}

	if o.Points != nil {
		p.armThese(o.Points)
	}

	if o.Until > 0 {
		p.Changes, p.Load.Changes = o.Until, o.Until
	}

	return p
}

// schedule spreads faults over the load. One that may end the flow comes last, in a fifth of the runs.
func (p *Plan) schedule(r *rand.Rand, o *Options) {
	var heal, end []Class

	for _, c := range o.Classes {
		switch {
		case o.Short && !c.Short, c.Fits != nil && !c.Fits(p):
		case c.Ending == Heals:
			heal = append(heal, c)
		default:
			end = append(end, c)
		}
	}

	// A run whose target goes back is judged by less: of most runs everything is.
	if rest := slices.DeleteFunc(slices.Clone(heal), rewrites); r.IntN(4) > 0 && len(rest) > 0 {
		heal = rest
	}

	steps := max(1, p.Changes/max(spacing, int(o.Rate*spacingTime.Seconds()))-1)
	last := len(end) > 0 && (len(heal) == 0 || r.IntN(5) == 0)

	// A deck, so that a run has as many different ones as it can.
	var deck []Class

	for n := range steps {
		at := uint64((n + 1) * p.Changes / (steps + 1))

		var c Class

		switch {
		case last && n == steps-1:
			c = end[r.IntN(len(end))]
		case len(heal) == 0:
			continue
		default:
			if len(deck) == 0 {
				for _, i := range r.Perm(len(heal)) {
					deck = append(deck, heal[i])
				}
			}

			c, deck = deck[0], deck[1:]
		}

		p.Steps = append(p.Steps, Step{Number: n + 1, At: at, Class: c, Fault: c.Draw(r, p)})
	}
}

// armed is how many failpoints each service has in a run of the usual length; longer ones have more.
const (
	armed       = 4
	armedPer    = 2500 // changes
	usualLength = 2000 // changes
)

// points is how many failpoints each service has.
func (p *Plan) points() int { return armed + max(0, p.Changes-usualLength)/armedPer }

// arm chooses failpoints and their passages: most of them early, so that they are reached.
func (p *Plan) arm(r *rand.Rand) {
	for _, service := range []string{failpoint.Listener, failpoint.Processor, failpoint.Stats} {
		var places []failpoint.Place

		for _, place := range failpoint.Table() {
			for _, in := range place.In {
				if in == service {
					places = append(places, place)
				}
			}
		}

		for _, i := range r.Perm(len(places))[:min(p.points(), len(places))] {
			p.Armed[service] = append(p.Armed[service], p.draw(r, &places[i]))
		}
	}
}

// armThese arms points in every service that has them.
func (p *Plan) armThese(points []failpoint.Armed) {
	clear(p.Armed)

	for _, place := range failpoint.Table() {
		for _, a := range points {
			for _, service := range place.In {
				if a.Point == place.Point {
					p.Armed[service] = append(p.Armed[service], a)
				}
			}
		}
	}
}

func (p *Plan) draw(r *rand.Rand, place *failpoint.Place) failpoint.Armed {
	a := failpoint.Armed{Point: place.Point, Passage: 1 + uint64(r.ExpFloat64()*15)}

	switch dice := r.IntN(5); {
	case dice < 2 && place.Errors:
		a.Action = failpoint.Fail
	case dice < 4:
		a.Action = failpoint.Exit
	default:
		a.Action = failpoint.Wait
		a.For = p.sleep(r)
	}

	return a
}

// sleep is of one to three leases.
func (p *Plan) sleep(r *rand.Rand) time.Duration {
	return p.Lease + time.Duration(r.IntN(int(2*p.Lease/time.Millisecond)))*time.Millisecond
}

// rewrites tells whether the target goes back to what it was.
func rewrites(c Class) bool { return c.Rewrites }

// alone tells whether NATS is one server: its files are all that there is of the stream.
func alone(p *Plan) bool { return !p.Replicated }

// servers is how many NATS has.
func (p *Plan) servers() int {
	if p.Replicated {
		return replicas
	}

	return 1
}

// disk is the size of the disk that NATS has for itself; 0: it has none.
func (p *Plan) disk() int64 {
	if slices.ContainsFunc(p.Steps, func(s Step) bool { return s.Class.Disk }) {
		return natsDisk
	}

	return 0
}

// fails tells whether changes may fail.
func (p *Plan) fails() bool {
	return slices.ContainsFunc(p.Steps, func(s Step) bool { return s.Class.Letters })
}

// Settings are those of the services, beside what they connect.
func (p *Plan) Settings(db string) map[string]string {
	settings := map[string]string{
		"INCLUDE_NAMESPACES": db + ".*", "PARTITIONS": strconv.Itoa(p.Partitions), "LEASE_TTL": p.Lease.String(),
		"REPLAY_MARGIN": "1000", "RETRY_DELAYS": "200ms,500ms,1s,2s", "MAX_RETRIES": "100", "BYPASS_VALIDATION": "false",
		"SHUTDOWN_GRACE": "10s", "DDL": "off",
	}

	if p.Schema {
		settings["DDL"] = "on"
	}

	if p.disk() > 0 {
		settings["STREAM_MAX_BYTES"] = "512MiB" // NATS has three quarters of its disk for streams
	}

	if p.Replicated {
		settings["STREAM_REPLICAS"] = strconv.Itoa(replicas)
	}

	return settings
}

// String is the plan for people.
func (p *Plan) String() string {
	var b strings.Builder

	fmt.Fprintf(&b, "seed %d: %d changes by %d writers at %.0f/s (%d documents of 16 MiB, %s of quiet, schema changes: %v); target without transactions: %v; NATS replicated: %v; %d partitions, %d processors, leases of %s\n",
		p.Seed, p.Changes, p.Load.Writers, p.Load.Rate, p.Load.Large, p.Load.Quiet, p.Schema, p.Standalone, p.Replicated, p.Partitions, p.Processors, p.Lease)

	for _, service := range []string{failpoint.Listener, failpoint.Processor, failpoint.Stats} {
		fmt.Fprintf(&b, "armed in %s: %s\n", service, failpoint.List(p.Armed[service]))
	}

	for _, s := range p.Steps {
		fmt.Fprintln(&b, s)
	}

	return b.String()
}

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
	Oplog      int // entries that the source keeps; 0: more than the run has
	Load       load.Options
	Steps      []Step
	Armed      map[string][]failpoint.Armed // by service
}

// Step is a fault and its moment.
type Step struct {
	At    uint64 // changes
	Class Class
	Fault Fault
}

const (
	// spacing is how many changes lie between two faults: enough for at least a hundred to fall into one.
	spacing = 350
	// historyOplog is what the source keeps in a run that ends with lost history: more than the run has before that.
	historyOplog = 20_000

	lease = 2 * time.Second
)

// NewPlan decides everything. The same arguments give the same plan.
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

	p.schedule(r, o)
	p.arm(r)

	if len(o.Points) > 0 {
		p.armThese(o.Points)
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

	steps := max(1, p.Changes/spacing-1)
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

		p.Steps = append(p.Steps, Step{At: at, Class: c, Fault: c.Draw(r, p)})
	}
}

// armed is how many failpoints each service has in a run.
const armed = 4

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

		for _, i := range r.Perm(len(places))[:min(armed, len(places))] {
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
		a.For = p.Lease + time.Duration(r.IntN(int(2*p.Lease/time.Millisecond)))*time.Millisecond
	}

	return a
}

// rewrites tells whether the target goes back to what it was.
func (p *Plan) rewrites() bool {
	return slices.ContainsFunc(p.Steps, func(s Step) bool { return s.Class.Rewrites })
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

	return settings
}

// String is the plan for people.
func (p *Plan) String() string {
	var b strings.Builder

	fmt.Fprintf(&b, "seed %d: %d changes by %d writers at %.0f/s (%d documents of 16 MiB, %s of quiet, schema changes: %v); %d partitions, %d processors, leases of %s\n",
		p.Seed, p.Changes, p.Load.Writers, p.Load.Rate, p.Load.Large, p.Load.Quiet, p.Schema, p.Partitions, p.Processors, p.Lease)

	for _, service := range []string{failpoint.Listener, failpoint.Processor, failpoint.Stats} {
		fmt.Fprintf(&b, "armed in %s: %s\n", service, failpoint.List(p.Armed[service]))
	}

	for i, s := range p.Steps {
		fmt.Fprintf(&b, "%d. at change %d: %s: %s\n", i+1, s.At, s.Class.Name, s.Fault)
	}

	return b.String()
}

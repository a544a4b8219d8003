package main

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/atlas-relay/atlas-relay/e2e/chaos"
	"github.com/atlas-relay/atlas-relay/pkg/failpoint"
	"github.com/atlas-relay/atlas-relay/pkg/settings"
)

// Config is everything that a chaos run can be told.
type Config struct {
	Seed     uint64        `env:"SEED"     help:"of the first run, each further one has the next; 0: a new one each time"`
	Runs     int           `env:"RUNS"     envDefault:"1"    min:"1"   max:"1000000"  help:"how many"`
	Changes  int           `env:"CHANGES"  envDefault:"2000" min:"100" max:"10000000" help:"of documents in each run"`
	Rate     int           `env:"RATE"     envDefault:"250"  min:"1"   max:"100000"   help:"changes per second"`
	Classes  string        `env:"CLASSES"  help:"comma list of the classes of faults; empty: all"`
	Points   string        `env:"POINTS"   help:"failpoints to arm, as RELAY_FAILPOINTS has them, or none; empty: those that the seed chooses"`
	Steps    string        `env:"STEPS"    help:"comma list of the numbers of the steps of the schedule to take, or none; empty: all"`
	Until    int           `env:"UNTIL"    min:"0" max:"10000000" help:"changes after which the load ends before its time; 0: never"`
	Shrink   int           `env:"SHRINK"   envDefault:"12" min:"0" max:"1000" help:"runs that are spent to shorten the schedule of one that went wrong"`
	Record   bool          `env:"RECORD"   help:"append the runs to e2e/chaos/runs.jsonl, write e2e/CHAOS.md, and arm the failpoints that no such run has struck"`
	Short    bool          `env:"SHORT"    help:"only what the tests have time for"`
	Keep     bool          `env:"KEEP"     help:"keep the folders of good runs, too"`
	Dir      string        `env:"CHAOS_DIR"      help:"where each run has its folder; empty: below the temporary directory"`
	Bin      string        `env:"CHAOS_BIN"      help:"where the services are, built with the tag failpoints; empty: they are built"`
	Patience time.Duration `env:"CHAOS_PATIENCE" envDefault:"3m" help:"how long the relay may take for anything"`
	Race     bool          `env:"CHAOS_RACE"     help:"build the services with the race detector"`
	Verbose  bool          `env:"CHAOS_VERBOSE"  help:"tell what happens meanwhile"`
}

// Validate implements the check that settings.Load makes.
func (c *Config) Validate() error {
	if _, err := c.classes(); err != nil {
		return settings.Mistake{Name: "CLASSES", Value: c.Classes, Rule: err.Error(), Fix: "leave it empty for all"}
	}

	if _, err := c.points(); err != nil {
		return settings.Mistake{Name: "POINTS", Value: c.Points, Rule: err.Error(), Fix: "pkg/failpoint lists them"}
	}

	if _, err := c.steps(); err != nil {
		return settings.Mistake{Name: "STEPS", Value: c.Steps, Rule: err.Error(), Fix: "a run's log numbers its steps"}
	}

	return nil
}

// points are nil where the seed chooses them.
func (c *Config) points() ([]failpoint.Armed, error) {
	switch c.Points {
	case "":
		return nil, nil
	case chaos.None:
		return []failpoint.Armed{}, nil
	default:
		return failpoint.Parse(c.Points)
	}
}

// steps are nil where all are taken.
func (c *Config) steps() ([]int, error) {
	if c.Steps == "" {
		return nil, nil
	}

	steps := []int{}
	if c.Steps == chaos.None {
		return steps, nil
	}

	for text := range strings.SplitSeq(c.Steps, ",") {
		n, err := strconv.Atoi(strings.TrimSpace(text))
		if err != nil || n < 1 {
			return nil, fmt.Errorf("%q is no number of a step", text)
		}

		steps = append(steps, n)
	}

	return steps, nil
}

func (c *Config) classes() ([]chaos.Class, error) {
	return chaos.Select(strings.FieldsFunc(c.Classes, func(r rune) bool { return r == ',' }))
}

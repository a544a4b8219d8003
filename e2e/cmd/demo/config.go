package main

import (
	"github.com/atlas-relay/atlas-relay/pkg/mongotest"
	"github.com/atlas-relay/atlas-relay/pkg/settings"
)

// Config is everything the demo can be told.
type Config struct {
	Seconds int    `env:"DEMO_SECONDS" envDefault:"20"  min:"1" max:"86400" help:"how long the traffic lasts"`
	Rate    int    `env:"DEMO_RATE"    min:"0" max:"100000" help:"changes per second; 500, and 200 on the Python stand-in"`
	Keep    bool   `env:"DEMO_KEEP"    help:"leave everything running until Ctrl-C"`
	Seed    uint64 `env:"DEMO_SEED"    help:"of traffic and chaos; 0: a new one each time"`

	Processors int  `env:"PROCESSORS" envDefault:"1" min:"1" max:"64" help:"how many share the partitions"`
	Chaos      bool `env:"DEMO_CHAOS" help:"kill, freeze, add and remove processors while the traffic lasts"`

	TwoWay bool `env:"DEMO_TWO_WAY" help:"a flow in each direction between the two databases, people write to both"`

	Diary string `env:"DEMO_DIARY" help:"file that a program may follow: where to look, and what is broken when"`

	SourceURI settings.URI `env:"SOURCE_URI" help:"MongoDB to write to and read from; empty: one of its own"`
	TargetURI settings.URI `env:"TARGET_URI" help:"MongoDB to replicate to; empty: one of its own"`
}

// Validate implements the check that settings.Load makes.
func (c *Config) Validate() error {
	if c.TwoWay && (c.Chaos || !c.SourceURI.IsZero()) {
		return settings.Mistake{
			Name: "DEMO_TWO_WAY", Rule: "goes neither with DEMO_CHAOS nor with SOURCE_URI", Fix: "unset those; services may be killed by hand",
		}
	}

	if c.SourceURI.IsZero() != c.TargetURI.IsZero() {
		return settings.Mistake{
			Name: "SOURCE_URI, TARGET_URI", Rule: "must be set together", Fix: "set both, or neither to have two servers started",
		}
	}

	if !c.SourceURI.IsZero() && c.SourceURI.Reveal() == c.TargetURI.Reveal() {
		return settings.Mistake{Name: "TARGET_URI", Rule: "is the same as SOURCE_URI", Fix: "name two different deployments"}
	}

	return nil
}

// Changes per second when none are given.
const (
	defaultRate = 500
	pythonRate  = 200
)

func (c *Config) rate(flavor mongotest.Flavor) int {
	switch {
	case c.Rate != 0:
		return c.Rate
	case flavor == mongotest.SecantusPython:
		return pythonRate
	default:
		return defaultRate
	}
}

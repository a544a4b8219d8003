package main

import (
	"errors"
	"time"

	"github.com/atlas-relay/atlas-relay/pkg/event"
	"github.com/atlas-relay/atlas-relay/pkg/mongodb"
	"github.com/atlas-relay/atlas-relay/pkg/settings"
)

// Config is everything a listener can be told.
type Config struct {
	settings.Common

	SourceURI    settings.URI        `env:"SOURCE_URI,required"   help:"MongoDB to read from: a replica set or a sharded cluster"`
	Include      settings.Namespaces `env:"INCLUDE_NAMESPACES"    help:"namespaces to replicate, comma list of db.coll and db.*; empty: all"`
	Exclude      settings.Namespaces `env:"EXCLUDE_NAMESPACES"    help:"namespaces to leave out; wins over INCLUDE_NAMESPACES"`
	SkipOrigins  settings.Flows      `env:"SKIP_ORIGINS"          help:"flows whose changes at the source are left out, comma list: the opposite one where two flows run both ways; empty for the listener: as the stream was made"`
	FullDocument string              `env:"FULL_DOCUMENT"         envDefault:"delta" help:"image that an update carries beside its delta; delta: none" oneof:"delta,updateLookup,whenAvailable"`
	BeforeChange string              `env:"FULL_DOCUMENT_BEFORE_CHANGE" envDefault:"off" help:"the document from before a change, for other readers of the stream, of collections with changeStreamPreAndPostImages; events grow by it" oneof:"off,whenAvailable"`
	LeaseTTL     time.Duration       `env:"LEASE_TTL"             envDefault:"5s" min:"1s" max:"1h" help:"a standby takes over from an active listener that is gone after this long"`
	ReplayMargin int                 `env:"REPLAY_MARGIN"         envDefault:"100000" min:"0" help:"messages that stay in the stream behind what all processors have applied, for a target that is set back; at most half of what the stream can hold"`
	HistoryWarn  time.Duration       `env:"HISTORY_WARN"          envDefault:"24h" min:"0s" help:"warn when the source keeps what the stream does not have for less than this, and its oplog is shrinking against it"`
	HistoryCrit  time.Duration       `env:"HISTORY_CRITICAL"      envDefault:"4h" min:"0s" help:"the flow is DEGRADED below this, unless the oplog's oldest entry does not move"`
	JanitorCreds string              `env:"NATS_JANITOR_CREDS"    help:"path of credentials, as NATS_CREDS, for purging the stream of what is applied; empty: the listener's own have that right"`
	MemoryBudget settings.Bytes      `env:"MEMORY_BUDGET"         envDefault:"256MiB" help:"memory at which the garbage collector works harder; GOMEMLIMIT wins"`
}

const defaultOpsAddr = ":8081"

// newConfig returns a Config with the defaults that tags cannot hold.
func newConfig() *Config {
	return &Config{Common: settings.Common{OpsAddr: defaultOpsAddr}}
}

// LoadConfig reads the configuration. The error lists every mistake.
func LoadConfig(environ map[string]string) (*Config, error) {
	cfg := newConfig()
	if err := settings.Load(cfg, environ); err != nil {
		return nil, err
	}

	return cfg, nil
}

// Validate implements the check that settings.Load makes.
func (c *Config) Validate() error {
	var mistakes []error

	if !c.SourceURI.IsZero() {
		if err := mongodb.CheckURI(c.SourceURI); err != nil {
			mistakes = append(mistakes, settings.Mistake{Name: "SOURCE_URI", Value: c.SourceURI, Rule: err.Error(), Fix: "for example mongodb+srv://user:password@cluster.example.net"})
		}
	}

	if _, err := event.ParseFilter(c.Include.Patterns(), c.Exclude.Patterns()); err != nil {
		mistakes = append(mistakes, settings.Mistake{Name: "INCLUDE_NAMESPACES, EXCLUDE_NAMESPACES", Rule: err.Error()})
	}

	if c.HistoryWarn < c.HistoryCrit {
		mistakes = append(mistakes, settings.Mistake{
			Name: "HISTORY_WARN", Value: c.HistoryWarn, Rule: "must be at least HISTORY_CRITICAL", Fix: "for example HISTORY_WARN=" + (2 * c.HistoryCrit).String(),
		})
	}

	return errors.Join(append(mistakes, c.SkipOrigins.Exclude(c.Flow))...)
}

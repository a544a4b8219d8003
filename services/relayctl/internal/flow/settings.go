package flow

import (
	"errors"

	"github.com/atlas-relay/atlas-relay/pkg/event"
	"github.com/atlas-relay/atlas-relay/pkg/mongodb"
	"github.com/atlas-relay/atlas-relay/pkg/settings"
	"github.com/atlas-relay/atlas-relay/pkg/topology"
)

// Connection says which flow is meant and where its stream lives.
type Connection struct {
	Flow string `env:"FLOW" envDefault:"atlas-to-local" help:"name of the flow: one direction, one source to one target"`
	NATS settings.NATS
}

// Validate implements the check that settings.Load makes.
func (c Connection) Validate() error { return settings.Common{Flow: c.Flow}.Validate() }

// ShowSettings are what Show needs.
type ShowSettings struct{ Connection }

// DeleteSettings are what Delete needs.
type DeleteSettings struct {
	Connection

	TargetURI settings.URI `env:"TARGET_URI,required" help:"MongoDB whose database atlas_relay holds the flow's checkpoints and parked events"`
}

// Validate implements the check that settings.Load makes.
func (s *DeleteSettings) Validate() error { return checkURI("TARGET_URI", s.TargetURI) }

// InitSettings are what a flow is made from.
type InitSettings struct {
	Connection

	SourceURI settings.URI `env:"SOURCE_URI,required" help:"MongoDB to read from: a replica set or a sharded cluster"`
	TargetURI settings.URI `env:"TARGET_URI,required" help:"MongoDB to write to: a replica set or a sharded cluster"`

	Partitions int            `env:"PARTITIONS"       envDefault:"16"    help:"ordered lanes of the stream, fixed for its life: at most so many batches are applied at a time" min:"1" max:"256"`
	MaxBytes   settings.Bytes `env:"STREAM_MAX_BYTES"                    help:"largest size of the stream; empty: 80 % of the free store, 10GiB where the account states no limit"`
	Replicas   int            `env:"STREAM_REPLICAS"  envDefault:"1"     help:"servers of the NATS cluster that hold the stream: 1, 3 or 5"`
	Publish    string         `env:"STREAM_PUBLISH"                      help:"how the listener publishes: chain, or batch (slower, but right with replicas, and with a server that syncs always); empty: chain with 1 replica, batch with more"`

	Include     settings.Namespaces `env:"INCLUDE_NAMESPACES" help:"namespaces to replicate, comma list of db.coll and db.*; empty: all"`
	Exclude     settings.Namespaces `env:"EXCLUDE_NAMESPACES" help:"namespaces to leave out; wins over INCLUDE_NAMESPACES"`
	SkipOrigins settings.Flows      `env:"SKIP_ORIGINS"       help:"flows whose changes at the source are left out, comma list: the opposite one where two flows run both ways; empty for the listener: as the stream was made"`
	DDL         string              `env:"DDL"                help:"replication of schema changes (create, drop, rename, indexes, collMod), and with it of capped collections and collations: on or off, fixed for the life of the stream; empty: on, off with SKIP_ORIGINS"`

	IndexSettings

	WithoutExisting bool `env:"WITHOUT_EXISTING" envDefault:"false" help:"make the flow although the source has documents: they are copied by other means"`
}

// IndexSettings say what becomes of indexes: here what the processors are told.
type IndexSettings struct {
	Indexes string `env:"INDEXES" envDefault:"same" oneof:"same,none" help:"indexes of the target where DDL is on: same as the source's, or none: the target's are left alone"`
}

// LeavesIndexes tells whether the target's indexes are left alone.
func (s *IndexSettings) LeavesIndexes() bool { return s.Indexes == "none" }

// leastStream holds one event of 16 MiB several times.
const leastStream = 64 << 20

// Validate implements the check that settings.Load makes.
func (s *InitSettings) Validate() error {
	mistakes := []error{checkURI("SOURCE_URI", s.SourceURI), checkURI("TARGET_URI", s.TargetURI)}

	refuse := func(wrong bool, name string, value any, rule, fix string) {
		if wrong {
			mistakes = append(mistakes, settings.Mistake{Name: name, Value: value, Rule: rule, Fix: fix})
		}
	}

	refuse(s.SourceURI.Reveal() == s.TargetURI.Reveal(), "TARGET_URI", nil, "is the same as SOURCE_URI: a flow would feed itself", "name another deployment")
	refuse(s.MaxBytes != 0 && s.MaxBytes < leastStream, "STREAM_MAX_BYTES", s.MaxBytes, "must be at least 64MiB", "for example STREAM_MAX_BYTES=10GiB")
	refuse(s.Replicas != 1 && s.Replicas != 3 && s.Replicas != 5, "STREAM_REPLICAS", s.Replicas, "must be 1, 3 or 5", "STREAM_REPLICAS=3")
	refuse(s.Publish != "" && s.Publish != "chain" && s.Publish != "batch", "STREAM_PUBLISH", s.Publish, "must be chain or batch", "unset STREAM_PUBLISH")
	refuse(s.Publish == "chain" && s.Replicas > 1, "STREAM_PUBLISH", s.Publish,
		"must be batch with several replicas: the id chain stops them for good", "unset STREAM_PUBLISH, or STREAM_REPLICAS=1")
	refuse(s.DDL != "" && s.DDL != "on" && s.DDL != "off", "DDL", s.DDL, "must be on or off", "unset DDL")
	refuse(s.DDL == "on" && len(s.SkipOrigins) > 0, "DDL", s.DDL,
		"must be off with SKIP_ORIGINS: a schema change says not whose it is, and one that came back would hit what was made since", "unset DDL")

	if _, err := s.filter(); err != nil {
		refuse(true, "INCLUDE_NAMESPACES, EXCLUDE_NAMESPACES", nil, err.Error(), "")
	}

	return errors.Join(append(mistakes, s.SkipOrigins.Exclude(s.Flow))...)
}

// publishMode is chain where nothing speaks against it: it is the faster one.
func (s *InitSettings) publishMode() topology.PublishMode {
	switch {
	case s.Publish != "":
		return topology.PublishMode(s.Publish)
	case s.Replicas > 1:
		return topology.PublishBatch
	default:
		return topology.PublishChain
	}
}

// ReplicatesSchema tells whether schema changes are replicated.
func (s *InitSettings) ReplicatesSchema() bool {
	return s.DDL == "on" || s.DDL == "" && len(s.SkipOrigins) == 0
}

func checkURI(name string, uri settings.URI) error {
	if err := mongodb.CheckURI(uri); err != nil {
		return settings.Mistake{Name: name, Value: uri, Rule: err.Error(), Fix: "for example mongodb+srv://user:password@cluster.example.net"}
	}

	return nil
}

func (s *InitSettings) filter() (event.Filter, error) {
	return event.ParseFilter(s.Include.Patterns(), s.Exclude.Patterns())
}

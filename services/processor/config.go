package main

import (
	"errors"
	"slices"
	"time"

	"github.com/atlas-relay/atlas-relay/pkg/mongodb"
	"github.com/atlas-relay/atlas-relay/pkg/settings"
)

// Config is everything a processor can be told.
type Config struct {
	settings.Common

	TargetURI settings.URI `env:"TARGET_URI,required" help:"MongoDB to write to: a replica set or a sharded cluster"`

	BatchSize        int                `env:"BATCH_SIZE"         envDefault:"100"    min:"1"     max:"10000" help:"most events of a batch, which is one transaction"`
	BatchIdleTimeout time.Duration      `env:"BATCH_IDLE_TIMEOUT" envDefault:"1s"     min:"1ms"               help:"a batch closes after this long without a new event"`
	BatchMaxAge      time.Duration      `env:"BATCH_MAX_AGE"      envDefault:"2s"     min:"1ms"               help:"a batch closes this long after its first event"`
	BatchMaxBytes    settings.Bytes     `env:"BATCH_MAX_BYTES"    envDefault:"8MiB"   min:"1KiB"  max:"16MiB" help:"a batch closes at this size; a larger event is a batch of its own"`
	BatchEager       bool               `env:"BATCH_EAGER"        envDefault:"true"                           help:"a batch also closes as soon as its partition has nothing in flight"`
	ApplyConcurrency int                `env:"APPLY_CONCURRENCY"  envDefault:"8"      min:"1"     max:"256"   help:"batches of different partitions applied at the same time"`
	MaxRetries       int                `env:"MAX_RETRIES"        envDefault:"5"      min:"0"     max:"100"   help:"tries of a failing event after the first; then it is a dead letter"`
	RetryDelays      settings.Durations `env:"RETRY_DELAYS"       envDefault:"1s,5s,15s,30s,60s"            help:"waits before these tries; the last one repeats"`
	ParkMaxBytes     settings.Bytes     `env:"PARK_MAX_BYTES"     envDefault:"1GiB"   min:"1MiB"              help:"most that the flow's waiting events and dead letters take on the target; a partition that would exceed it pauses"`
	MemoryBudget     settings.Bytes     `env:"MEMORY_BUDGET"      envDefault:"256MiB" min:"64MiB"             help:"memory of all events from delivery to commit"`
	BypassValidation bool               `env:"BYPASS_VALIDATION"  envDefault:"true"                           help:"documents that the source accepted need not pass the target's validators"`
	Indexes          string             `env:"INDEXES"            envDefault:"same" oneof:"same,none"               help:"indexes of the target where DDL is on: same as the source's, or none: the target's are left alone"`
	LeaseTTL         time.Duration      `env:"LEASE_TTL"          envDefault:"5s"     min:"1s"    max:"1h"    help:"the partitions of a processor that is gone are taken over after this long"`
}

const (
	defaultOpsAddr = ":8082"
	indexesNone    = "none" // of INDEXES
)

// newConfig returns a Config with the defaults that tags cannot hold.
func newConfig() *Config {
	return &Config{Common: settings.Common{OpsAddr: defaultOpsAddr}}
}

// Validate implements the check that settings.Load makes.
func (c *Config) Validate() error {
	var mistakes []error

	if !c.TargetURI.IsZero() {
		if err := mongodb.CheckURI(c.TargetURI); err != nil {
			mistakes = append(mistakes, settings.Mistake{
				Name: "TARGET_URI", Value: c.TargetURI, Rule: err.Error(), Fix: "for example mongodb://host:27017/?replicaSet=rs0",
			})
		}
	}

	if c.BatchMaxAge < c.BatchIdleTimeout {
		mistakes = append(mistakes, settings.Mistake{
			Name: "BATCH_MAX_AGE", Value: c.BatchMaxAge, Rule: "must be at least BATCH_IDLE_TIMEOUT",
			Fix: "for example BATCH_MAX_AGE=" + (2 * c.BatchIdleTimeout).String(),
		})
	}

	if len(c.RetryDelays) == 0 || slices.ContainsFunc(c.RetryDelays, notPositive) {
		mistakes = append(mistakes, settings.Mistake{
			Name: "RETRY_DELAYS", Value: c.RetryDelays, Rule: "must be positive durations, at least one",
			Fix: "for example RETRY_DELAYS=1s,5s,15s,30s,60s",
		})
	}

	return errors.Join(mistakes...)
}

func notPositive(d time.Duration) bool { return d <= 0 }

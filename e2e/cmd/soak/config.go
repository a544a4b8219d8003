package main

import "time"

// Config is everything the long run can be told.
type Config struct {
	Lasts time.Duration `env:"LASTS" envDefault:"2h"  min:"5s" max:"168h"   help:"how long the traffic lasts"`
	Rate  int           `env:"RATE"  envDefault:"500" min:"1"  max:"100000" help:"changes per second"`
	Every time.Duration `env:"EVERY" envDefault:"1m"  min:"1s" max:"1h"     help:"from one fault to the next"`
	Seed  uint64        `env:"SEED"  help:"of traffic and faults; 0: a new one each time"`
}

// oplog is how many changes the source keeps: of two minutes. A stand-in keeps its oplog in memory.
func (c *Config) oplog() int { return 120 * c.Rate }

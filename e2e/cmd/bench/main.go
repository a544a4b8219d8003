// Command bench measures the relay's speed and memory on this machine, beside the ceilings that the same servers reach
// in the same run without the relay.
//
// It prints a table and writes it to e2e/BENCHMARKS.md.
package main

import "github.com/atlas-relay/atlas-relay/e2e/harness"

func main() { harness.Main("bench", run) }

// Config is everything the benchmark can be told.
type Config struct {
	Changes int `env:"BENCH_CHANGES" envDefault:"200000" min:"1000" help:"changes of each run at full speed"`
	Rate    int `env:"BENCH_RATE"    envDefault:"500"    min:"1"    help:"changes per second of the latency run"`
	Large   int `env:"BENCH_LARGE"   envDefault:"50"     min:"1"    help:"documents of 16 MiB"`
	Size    int `env:"BENCH_SIZE"    envDefault:"500"    min:"100"  help:"bytes of a document"`
	Backlog int `env:"BENCH_BACKLOG" envDefault:"1000000" min:"1000" help:"messages in the stream when services are started"`

	Against string `env:"BENCH_AGAINST" help:"a revision of this repository whose capture and apply are measured beside this tree's"`
	Only    string `env:"BENCH_ONLY" help:"run only the steps whose name contains one of these (comma-separated), and keep the table of the last whole run"`
}

// Package harness starts the relay as its users do: its programs, built from this tree, as separate processes with
// settings in their environment, beside a NATS server and the MongoDB servers of pkg/mongotest.
//
// It waits on conditions, never for a time. Everything it starts ends with Stop, and on Linux also when the process
// that started it is killed.
package harness

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"os/exec"
	"slices"
	"strings"
	"time"

	"github.com/atlas-relay/atlas-relay/pkg/settings"
)

// Options says what a relay connects.
type Options struct {
	Programs Programs
	Dir      string // of the logs
	Flow     string
	Source   settings.URI
	Target   settings.URI
	NATS     *NATS

	Processors int // how many to begin with; 0 is 1

	// Env holds more settings, for every program; each takes those it knows. With STATS_CA, as relayctl takes it, the
	// statistics are asked over TLS.
	Env map[string]string
	// Of holds more settings for one program, by its name.
	Of map[string]map[string]string
}

// Relay is one flow: its services, and a client of the statistics.
type Relay struct {
	*Statistics

	Listener *Service
	Stats    *Service

	standbys   []*Service // listeners beside the first one
	processors processors
	programs   Programs
	dir        string
	of         func(program string) map[string]string
	grpcAddr   string
	pageURL    string
}

// New prepares a relay; nothing runs yet. The caller must Stop it.
func New(ctx context.Context, o Options) (*Relay, error) {
	addrs, err := freeAddrs(ctx, 2)
	if err != nil {
		return nil, err
	}

	grpcAddr, httpAddr := addrs[0], addrs[1]

	secured, err := securityOf(o.Env)
	if err != nil {
		return nil, err
	}

	statistics, err := NewStatistics(grpcAddr, secured.credentials)
	if err != nil {
		return nil, err
	}

	env := map[string]string{
		"FLOW":       o.Flow,
		"NATS_URL":   o.NATS.URL(),
		"SOURCE_URI": o.Source.Reveal(),
		"TARGET_URI": o.Target.Reveal(),
		"GRPC_ADDR":  grpcAddr,
		"HTTP_ADDR":  httpAddr,
		"OPS_ADDR":   anyPort,
	}
	maps.Copy(env, o.Env)

	of := func(program string) map[string]string {
		own := maps.Clone(env)
		maps.Copy(own, o.Of[program])

		return own
	}

	service := func(name, program string) *Service {
		return newService(name, o.Programs.Path(program), nil, of(program), o.Dir)
	}

	r := &Relay{
		Statistics: statistics,
		Listener:   service(Listener, Listener),
		Stats:      service(Stats, Stats),
		programs:   o.Programs,
		dir:        o.Dir,
		of:         of,
		grpcAddr:   grpcAddr,
		pageURL:    secured.scheme + "://" + httpAddr + "/",
	}

	r.processors.make = func(name string) *Service {
		s := service(name, Processor)
		s.keepOpsAddr(context.WithoutCancel(ctx))

		return s
	}
	r.Listener.keepOpsAddr(ctx)
	r.processors.grow(max(o.Processors, 1))

	return r, nil
}

// Settings are what a program is told by its environment; the caller may change them.
func (r *Relay) Settings(program string) map[string]string { return r.of(program) }

// Processors are those that there are now, the oldest first.
func (r *Relay) Processors() []*Service { return r.processors.list() }

// Scale starts processors or stops the newest, in order, until there are n: as docker compose up --scale does.
func (r *Relay) Scale(ctx context.Context, n int) error {
	for _, s := range r.processors.shrink(n) {
		if err := s.Stop(ctx); err != nil {
			return fmt.Errorf("stop %s: %w", s.Name, err)
		}
	}

	for _, s := range r.processors.grow(n) {
		if err := s.Start(); err != nil {
			return err
		}
	}

	return nil
}

// Services are all that there are now, in the order of the data.
func (r *Relay) Services() []*Service {
	return slices.Concat(r.Listeners(), r.Processors(), []*Service{r.Stats})
}

// GRPCAddr is where the statistics answer.
func (r *Relay) GRPCAddr() string { return r.grpcAddr }

// PageURL is where the page of the statistics is.
func (r *Relay) PageURL() string { return r.pageURL }

// Init makes the flow's stream: the source's changes count from here.
func (r *Relay) Init(ctx context.Context) error { return r.mustCtl(ctx, "flow", "init") }

// Delete removes the flow's stream and its checkpoints.
func (r *Relay) Delete(ctx context.Context) error { return r.mustCtl(ctx, "flow", "delete", "--yes") }

func (r *Relay) mustCtl(ctx context.Context, args ...string) error {
	out, code, err := r.Ctl(ctx, args...)
	if err == nil && code != 0 {
		err = fmt.Errorf("exit code %d:\n%s", code, out)
	}

	if err != nil {
		return fmt.Errorf("relayctl %s: %w", strings.Join(args, " "), err)
	}

	return nil
}

// Start starts the services.
func (r *Relay) Start() error {
	for _, s := range r.Services() {
		if err := s.Start(); err != nil {
			return err
		}
	}

	return nil
}

// Stop ends the services in order, the listener first.
func (r *Relay) Stop(ctx context.Context) error {
	var errs []error

	for _, s := range r.Services() {
		if err := s.Stop(ctx); err != nil {
			errs = append(errs, fmt.Errorf("stop %s: %w", s.Name, err))
		}
	}

	return errors.Join(append(errs, r.Close())...)
}

// Ctl runs relayctl with the relay's settings and returns its output, of both kinds, and its exit code.
func (r *Relay) Ctl(ctx context.Context, args ...string) (out string, code int, err error) {
	var both bytes.Buffer

	_, code, err = r.ctl(ctx, &both, &both, args)

	return both.String(), code, err
}

// Answer is what a call of relayctl left.
type Answer struct {
	Data     []byte // of stdout
	Messages string // of stderr
	Code     int
	Used     Usage
}

// CtlAnswer is Ctl with data and messages apart, and what the process used.
func (r *Relay) CtlAnswer(ctx context.Context, args ...string) (a Answer, err error) {
	var data, messages bytes.Buffer

	a.Used, a.Code, err = r.ctl(ctx, &data, &messages, args)
	a.Data, a.Messages = data.Bytes(), messages.String()

	return a, err
}

// measureEvery is how often a process is asked what it has used: once it has ended nobody can.
const measureEvery = 20 * time.Millisecond

func (r *Relay) ctl(ctx context.Context, out, messages io.Writer, args []string) (used Usage, code int, err error) {
	cmd := exec.CommandContext(ctx, r.programs.Path(Relayctl), args...)
	cmd.Stdout, cmd.Stderr = out, messages

	cmd.Env = []string{"RELAY_STATS_ADDR=" + r.grpcAddr, "HOME=" + r.dir}
	for name, value := range r.of(Relayctl) {
		cmd.Env = append(cmd.Env, name+"="+value)
	}

	if err := cmd.Start(); err != nil {
		return Usage{}, 0, err
	}

	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()

	tick := time.NewTicker(measureEvery)
	defer tick.Stop()

	for {
		select {
		case <-tick.C:
			if now, err := UsageOf(cmd.Process.Pid); err == nil && now.PeakMemory > 0 { // 0: it has just ended
				used = now
			}
		case err := <-ended:
			if failed, ok := errors.AsType[*exec.ExitError](err); ok {
				return used, failed.ExitCode(), nil
			}

			return used, 0, err
		}
	}
}

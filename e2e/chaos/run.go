package chaos

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"

	"github.com/atlas-relay/atlas-relay/e2e/chaos/load"
	"github.com/atlas-relay/atlas-relay/e2e/harness"
	"github.com/atlas-relay/atlas-relay/e2e/history"
	"github.com/atlas-relay/atlas-relay/pkg/failpoint"
	"github.com/atlas-relay/atlas-relay/pkg/mongotest"
)

// Options of a run.
type Options struct {
	Programs harness.Programs // built with the tag failpoints
	Dir      string           // where the run's folder is made
	Seed     uint64
	Changes  int
	Rate     float64 // changes a second
	Classes  []Class
	Points   []failpoint.Armed // armed instead of those that the seed chooses; nil: those, empty: none
	Steps    []int             // numbers of the steps of the seed's schedule that are taken; nil: all, empty: none
	Until    int               // changes after which the load ends; 0: all
	Short    bool              // only what a test has time for
	Keep     bool              // the folder stays although nothing is wrong
	Choice   mongotest.Choice
	Patience time.Duration // of each wait for the relay
	Progress io.Writer     // the run's own log goes there, too; nil: to its file alone
}

// Outcome is what came of a run.
type Outcome struct {
	Plan     *Plan
	Folder   string // empty: it was removed
	Took     time.Duration
	Changes  uint64
	Strikes  []Strike
	Points   Points
	Ended    string    // the state that the flow ended in, as a class wants it; empty: it healed
	Unjudged string    // why the checker could not say anything; empty: it could, or was not asked
	Wrong    []Finding // what is wrong; nothing: the relay kept its promises
}

// Finding is one thing that is wrong.
type Finding struct {
	Kind string // the same for the same kind of damage, whatever it hit
	Text string // for people
}

// Kinds are those of the findings, each once.
func (o *Outcome) Kinds() (kinds []string) {
	for _, f := range o.Wrong {
		if !slices.Contains(kinds, f.Kind) {
			kinds = append(kinds, f.Kind)
		}
	}

	return kinds
}

// Strike is a step of the plan that was taken.
type Strike struct {
	Step
	Hit

	From    uint64 // the moment it began
	Changes uint64 // that the source took meanwhile
	Began   time.Time
	Over    time.Time // when all was whole again

	Recovery time.Duration // from then to the first sample that says OK; 0: the next fault came before, or nobody sampled
}

// run is one run while it lasts.
type run struct {
	*Stage

	options Options
	plan    *Plan
	folder  string
	hits    string // directory of the failpoints
	log     io.Writer
	outcome *Outcome
	own     *mongo.Client // of the load
	ended   bool          // the last fault is one that ends the flow, or may
}

// Run makes one run. An error says that it could not be made: nothing is known of the relay then. The folder stays, too.
func Run(ctx context.Context, o *Options) (_ *Outcome, err error) {
	plan := NewPlan(o)
	r := &run{options: *o, plan: plan, folder: filepath.Join(o.Dir, fmt.Sprintf("seed-%d", o.Seed)), outcome: &Outcome{Plan: plan}}
	r.outcome.Folder = r.folder
	r.hits = filepath.Join(r.folder, "failpoints")

	release, err := lockFolder(r.folder)
	if err != nil {
		return r.outcome, err
	}

	defer func() { err = errors.Join(err, release()) }()

	began := time.Now()
	err = r.make(ctx)
	r.outcome.Took = time.Since(began)
	r.outcome.Points = readPoints(r.hits, r.plan)

	if err == nil && len(r.outcome.Wrong) == 0 && !o.Keep {
		err = os.RemoveAll(r.folder)
		r.outcome.Folder = ""
	}

	return r.outcome, err
}

func (r *run) make(ctx context.Context) (err error) {
	if err := errors.Join(os.RemoveAll(r.folder), os.MkdirAll(filepath.Join(r.folder, history.LogsDir), 0o700), os.Mkdir(r.hits, 0o700)); err != nil {
		return fmt.Errorf("make the run's folder: %w", err)
	}

	log, err := os.Create(filepath.Join(r.folder, "run.log"))
	if err != nil {
		return fmt.Errorf("make the run's log: %w", err)
	}
	defer log.Close()

	r.log = log
	if r.options.Progress != nil {
		r.log = io.MultiWriter(log, r.options.Progress)
	}

	fmt.Fprintf(r.log, "%s\n%s", r.options.Replay(), r.plan)

	world, err := harness.StartWorld(ctx, harness.WorldOptions{
		Programs: r.options.Programs, Dir: filepath.Join(r.folder, history.LogsDir), Source: r.options.Choice, Target: r.options.Choice,
		SyncOnCommit: true, OplogMaxEntries: r.plan.Oplog, StandaloneTarget: r.plan.Standalone, NATSDisk: r.plan.disk(), NATSServers: r.plan.servers(),
	})
	if err != nil {
		return err
	}

	defer func() {
		r.keepLogs(world)

		err = errors.Join(err, world.Stop(context.WithoutCancel(ctx)))
	}()

	return r.on(ctx, world)
}

// keepLogs copies the logs of the databases, which their servers remove.
func (r *run) keepLogs(w *harness.World) {
	for name, place := range map[string]harness.Place{"source": w.Source, "target": w.Target} {
		if data, err := os.ReadFile(place.Server.LogFile()); err == nil {
			_ = os.WriteFile(filepath.Join(r.folder, history.LogsDir, name+".server-log"), data, 0o600)
		}
	}
}

// on makes the run on a world.
func (r *run) on(ctx context.Context, world *harness.World) (err error) {
	links, own, err := connect(ctx, world)
	for _, proxy := range links {
		defer proxy.Close()
	}

	if err != nil {
		return err
	}

	db := "chaos_" + bson.NewObjectID().Hex()
	env := r.plan.Settings(db)

	if r.plan.Replicated {
		env["NATS_URL"] = world.Cluster.URL()
	}

	relay, err := harness.New(ctx, harness.Options{
		Programs: r.options.Programs, Dir: world.Dir, Flow: flow, Source: world.Source.URI, Target: world.Target.URI, NATS: world.NATS,
		Processors: r.plan.Processors, Env: env, Of: own,
	})
	if err != nil {
		return err
	}

	defer func() { err = errors.Join(err, relay.Stop(context.WithoutCancel(ctx))) }()

	relay.AddListener(ctx, nil)

	r.Stage = &Stage{World: world, Relay: relay, Links: links, Plan: r.plan, DB: db, Note: r.note}

	r.recording = &recording{stage: r.Stage, folder: r.folder}
	defer r.recording.close()

	if err := r.sow(ctx); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, r.own.Disconnect(context.WithoutCancel(ctx))) }()

	defer func() {
		if err != nil || len(r.outcome.Wrong) > 0 {
			r.autopsy(ctx)
		}
	}()

	return r.play(ctx)
}

// note writes a line to the run's log.
func (r *run) note(format string, args ...any) {
	fmt.Fprintf(r.log, "%s change %d: %s\n", time.Now().UTC().Format("15:04:05.000"), r.Load.Changes(), fmt.Sprintf(format, args...))
}

// sow prepares the load and the flow.
func (r *run) sow(ctx context.Context) (err error) {
	// A client of its own, which tries nothing again by itself: what was asked for once is in the log once.
	r.own, err = mongo.Connect(options.Client().ApplyURI(r.World.Source.URI.Reveal()).
		SetAppName("chaos load").SetRetryWrites(false).SetServerSelectionTimeout(2 * time.Second))
	if err != nil {
		return fmt.Errorf("connect the load: %w", err)
	}

	for _, db := range []*mongo.Database{r.Source(), r.Target()} {
		if err := load.Prepare(ctx, db); err != nil {
			return err
		}
	}

	features, err := mongotest.FeaturesOf(ctx, r.World.Target.Client)
	if err != nil {
		return err
	}

	r.plan.Load.Swap = features.FreesUniqueValues
	r.Load = load.New(r.own.Database(r.DB), r.recording.write, r.plan.Load)

	for service, all := range r.services() {
		for _, s := range all {
			s.Configure(map[string]string{failpoint.Variable: failpoint.List(r.plan.Armed[service]), failpoint.HitsVariable: r.hits})
		}
	}

	if err := r.recording.begin(ctx); err != nil {
		return err
	}

	return r.Relay.Init(ctx)
}

func (r *run) services() map[string][]*harness.Service {
	return map[string][]*harness.Service{
		failpoint.Listener: r.Relay.Listeners(), failpoint.Processor: r.Relay.Processors(), failpoint.Stats: {r.Relay.Stats},
	}
}

// play starts the relay, runs the load, takes the steps, and judges.
func (r *run) play(ctx context.Context) (err error) {
	if err := r.Relay.Start(); err != nil {
		return err
	}

	ctx, cancel := context.WithCancelCause(ctx)
	supervised := make(chan error, 1)
	supervising, stop := context.WithCancel(ctx)

	go func() {
		err := harness.Supervise(supervising, r.Relay.Services, func(d harness.Death) { r.note("%s ended: %s", d.Service.Name, d.How) })
		if err != nil {
			cancel(err)
		}

		supervised <- err
	}()

	defer func() {
		stop()

		if dead := <-supervised; dead != nil {
			r.wrong("dead", "%v", dead)

			err = nil // of what was cancelled by it
		}

		cancel(nil)
	}()

	if err := r.await(ctx, "a flow that replicates", harness.Replicating); err != nil {
		r.wrong("no start", "%v", err)

		return nil
	}

	loaded := make(chan error, 1)

	go func() { loaded <- r.Load.Run(ctx) }()

	err = r.steps(ctx)
	r.Load.Release()

	if err := errors.Join(err, <-loaded); err != nil {
		return err
	}

	r.note("the load has ended")

	return r.finish(ctx)
}

// steps takes the steps of the plan. The load does not run past the next one.
func (r *run) steps(ctx context.Context) error {
	for i := range r.plan.Steps {
		step := &r.plan.Steps[i]

		r.Load.Hold(r.plan.after(i))

		if err := r.Load.Await(ctx, step.At); err != nil {
			return err
		}

		if step.Class.Ending == Ends && !r.settled(ctx) {
			return ctx.Err()
		}

		if err := r.take(ctx, step); err != nil {
			return fmt.Errorf("%s: %w", step.Fault, err)
		}

		r.ended = r.ended || step.Class.Ending != Heals
	}

	return nil
}

// settled waits until what the faults before have broken is whole: a state that ends the flow must be this fault's.
func (r *run) settled(ctx context.Context) bool {
	if err := r.await(ctx, "a flow that replicates", harness.Replicating); err != nil {
		r.wrong("not settled", "before the last fault: %v", err)

		return false
	}

	return true
}

// after is the moment that the load may not pass before step i is over.
func (p *Plan) after(i int) uint64 {
	if i+1 < len(p.Steps) {
		return p.Steps[i+1].At
	}

	return uint64(p.Changes)
}

// take takes one step.
func (r *run) take(ctx context.Context, step *Step) error {
	began := time.Now()
	strike := Strike{Step: *step, From: r.Load.Changes(), Began: began}

	r.note("%s: %s", step.Class.Name, step.Fault)

	hit, err := step.Fault.Strike(ctx, r.Stage)
	strike.Hit, strike.Changes, strike.Over = hit, r.Load.Changes()-strike.From, time.Now()
	r.outcome.Strikes = append(r.outcome.Strikes, strike)

	r.note("whole again after %d changes and %s: struck %d times (%s)", strike.Changes, time.Since(began).Round(time.Millisecond), hit.Times, hit.Victim)

	r.recording.fault(history.Fault{
		Class: step.Class.Name, Victim: hit.Victim, Detail: step.Fault.String(), From: began, To: strike.Over, Hits: hit.Times,
		Quiet: strike.Changes == 0, LosesTail: hit.LosesTail,
	})

	return err
}

// wrong keeps a finding.
func (r *run) wrong(kind, format string, args ...any) {
	finding := Finding{Kind: kind, Text: fmt.Sprintf(format, args...)}
	r.note("WRONG: %s", finding.Text)

	if !slices.Contains(r.outcome.Wrong, finding) {
		r.outcome.Wrong = append(r.outcome.Wrong, finding)
	}
}

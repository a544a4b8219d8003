package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"runtime/debug"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/atlas-relay/atlas-relay/pkg/event"
	"github.com/atlas-relay/atlas-relay/pkg/pause"
	"github.com/atlas-relay/atlas-relay/services/relayctl/internal/flow"
	"github.com/atlas-relay/atlas-relay/services/relayctl/internal/show"
	"github.com/atlas-relay/atlas-relay/services/relayctl/internal/verify"
)

// memoryGoal is what the garbage collector keeps verify's heap below, if need be by working harder. What is in use at a
// time is less (see the package verify).
const memoryGoal = 64 << 20

// partOfCollection is how many documents make a range of their own.
const partOfCollection = 1_000_000

// verifySettings are those of both sides, and what was promised of indexes.
type verifySettings struct {
	flow.OpenSettings
	flow.IndexSettings
}

// verification is what the command line says.
type verification struct {
	settings verifySettings

	namespaces []string
	state      string
	resume     bool
	noCatalog  bool
	showValues bool
	jobs       int
	rate       int
	rounds     int
	patience   time.Duration
	most       int
	wait       time.Duration
}

const verifyLong = `Compare source and target, document by document, while changes flow. Nothing is written to either side.

A document that is not the same is read again when the flow has applied what the source had; it is a difference when it
still is not. One that a parked change or a dead letter explains is named with it. One of which nothing can be told
within --patience, because the flow stands still or the document never does, is "not settled". The flow's filter is
respected. Values of documents are never shown without --show-values, _ids are.

Definitions of collections, views and indexes are compared too, and what differs is compared again when the flow has
passed it. They are the flow's to keep equal where it replicates schema changes; where it does not (DDL=off), and for
indexes with INDEXES=none, a note says what is not counted. A TTL index that is kept from deleting on the target, where
the source's deletes arrive, is no difference; both values are noted. --documents-only leaves all of it out.

Run it again with --resume after Ctrl-C or a crash. Runs at the same time need files of their own (--state). The user needs the role of deploy/mongodb/verify-role.js on both
sides (Atlas: readAnyDatabase).

Exit code 0: equal. 1: different, or not settled. 2: refused input. 3: a server cannot be reached.`

const verifyExample = `  relayctl verify                                everything that the flow replicates
  relayctl verify --namespace shop.orders --show-values
  relayctl verify --rate 5000                    gently: documents per second
  relayctl verify --resume                       go on where the last one was interrupted
  relayctl verify -o json > report.json || page-somebody`

func (p *program) verify() *cobra.Command {
	v := new(verification)

	cmd := &cobra.Command{
		Use:     "verify",
		Short:   "Compare source and target, while changes flow",
		Long:    verifyLong,
		Example: verifyExample,
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if _, err := p.load(cmd, &v.settings); err != nil {
				return err
			}

			if err := v.check(); err != nil {
				return err
			}

			return p.runVerify(cmd.Context(), v)
		},
	}

	addSettingsFlags(cmd, &v.settings)

	flags := cmd.Flags()
	flags.StringArrayVar(&v.namespaces, "namespace", nil, "only this db.coll; repeat it for several")
	flags.StringVar(&v.state, "state", "", "file that keeps how far it is; empty: verify-<flow>.state in XDG_STATE_HOME/atlas-relay")
	flags.BoolVar(&v.resume, "resume", false, "go on from the state of a run that was interrupted")
	flags.BoolVar(&v.noCatalog, "documents-only", false, "compare no definitions of collections, views and indexes")
	flags.BoolVar(&v.showValues, "show-values", false, "show the values of fields that differ")
	flags.IntVar(&v.jobs, "jobs", 2, "parts that are compared at a time, 1 to 16")
	flags.IntVar(&v.rate, "rate", 0, "documents per second; 0: as fast as it goes")
	flags.IntVar(&v.rounds, "rounds", 2, "how often a document has to be found different, 1 to 10")
	flags.DurationVar(&v.patience, "patience", 5*time.Minute, "how long a document may stay unsettled")
	flags.IntVar(&v.most, "max-differences", 1000, "stop after so many documents that differ or are not settled")
	flags.DurationVar(&v.wait, "wait", defaultWait, "how long servers get to come up")

	return cmd
}

// check tells all mistakes of the flags at once.
func (v *verification) check() error {
	var wrong []string

	refuse := func(is bool, what string) {
		if is {
			wrong = append(wrong, what)
		}
	}

	refuse(v.jobs < 1 || v.jobs > 16, fmt.Sprintf("--jobs %d is not within 1 to 16", v.jobs))
	refuse(v.rate < 0, fmt.Sprintf("--rate %d is negative", v.rate))
	refuse(v.rounds < 1 || v.rounds > 10, fmt.Sprintf("--rounds %d is not within 1 to 10", v.rounds))
	refuse(v.patience <= 0, fmt.Sprintf("--patience %s is not positive", v.patience))
	refuse(v.most < 1, fmt.Sprintf("--max-differences %d is below 1", v.most))

	for _, text := range v.namespaces {
		db, coll, _ := strings.Cut(text, ".")
		refuse(db == "" || coll == "", fmt.Sprintf("--namespace %q is not db.coll", text))
	}

	if len(wrong) == 0 {
		return nil
	}

	return &refusedError{what: strings.Join(wrong, "; "), next: "relayctl verify --help"}
}

func (p *program) runVerify(ctx context.Context, v *verification) error {
	// Of 1 MiB, which is what a part needs as a rule, 16 leave the goal in reach; above it the bound is soft.
	defer debug.SetMemoryLimit(debug.SetMemoryLimit(memoryGoal))

	path, err := p.statePath(v)
	if err != nil {
		return err
	}

	unlock, err := lockState(path)
	if err != nil {
		return err
	}
	defer unlock()

	config, err := prepareVerify(v, path)
	if err != nil {
		return err
	}

	waiting, cancel := context.WithTimeout(ctx, v.wait)
	opened, err := flow.Open(waiting, &v.settings.OpenSettings, p.log())

	cancel()

	if err != nil {
		return err
	}
	defer opened.Close(ctx)

	config.Source, config.Target, config.Stream, config.Filter = opened.Source, opened.Target, opened.Stream, opened.Filter

	if err := checkScope(config, path); err != nil {
		return err
	}

	if config.From == nil {
		if err := forgetState(path); err != nil { // of an earlier run: this one begins anew
			return err
		}
	}

	if held := heldBack(ctx, config); held != "" {
		fmt.Fprintf(p.err, "%s\n  what differs because of that cannot settle, however long it is waited for; next: relayctl flow resume, and then relayctl verify\n", held)
	}

	progress := show.NewProgress(p.err, isTerminal(p.err) && p.color())
	config.Watch = progress.Show
	config.Found = func(d verify.Difference) {
		progress.Clear()

		if p.output == outputText {
			fmt.Fprint(p.out, show.Difference(d))
		}
	}

	report, err := verify.Run(ctx, config)

	progress.Clear()

	if err != nil {
		return interrupted(ctx, opened, path, err)
	}

	if err := forgetState(path); err != nil {
		return err
	}

	report.Paused = heldBack(ctx, config)

	return p.printReport(report)
}

// heldBack says what people have paused of what is compared; empty while everything is applied, and where the target does
// not say: relayctl status tells that.
func heldBack(ctx context.Context, c *verify.Config) string {
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()

	d, err := pause.Load(ctx, c.Target, c.Flow)
	if err != nil {
		return ""
	}

	var held []string

	if d.Pause != nil {
		held = append(held, "flow "+c.Flow+" is "+d.Pause.String())
	}

	for i := range d.Namespaces {
		n := &d.Namespaces[i]
		if len(c.Only) == 0 || slices.ContainsFunc(c.Only, n.Covers) {
			held = append(held, n.Name()+" is "+n.Pause.String())
		}
	}

	return strings.Join(held, "; ")
}

// prepareVerify reads the state that is to be gone on from.
func prepareVerify(v *verification, path string) (config *verify.Config, err error) {
	config = &verify.Config{
		Flow: v.settings.Flow, Jobs: v.jobs, Part: partOfCollection, Rate: v.rate, Rounds: v.rounds, Patience: v.patience,
		Most: v.most, WithoutCatalog: v.noCatalog, WithoutIndexes: v.settings.LeavesIndexes(), ShowValues: v.showValues,
		Save: func(s *verify.State) error { return s.Save(path) },
	}

	for _, text := range v.namespaces {
		db, coll, _ := strings.Cut(text, ".")
		config.Only = append(config.Only, event.Namespace{DB: db, Coll: coll})
	}

	if !v.resume {
		return config, nil
	}

	config.From, err = verify.LoadState(path)

	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, &refusedError{what: "there is no interrupted verification to go on from: " + path + " does not exist", next: "run relayctl verify without --resume, or name the file with --state"}
	case errors.Is(err, verify.ErrState):
		return nil, &refusedError{what: err.Error(), next: "run relayctl verify without --resume"}
	default:
		return config, err
	}
}

// checkScope refuses namespaces that the flow does not replicate, and a state of something else.
func checkScope(c *verify.Config, path string) error {
	for _, ns := range c.Only {
		if event.IsInternal(ns) || !c.Filter.Takes(ns) {
			return &refusedError{what: fmt.Sprintf("--namespace %s: the flow %s does not replicate it", ns, c.Flow), next: "relayctl flow show, and the listener's INCLUDE_NAMESPACES and EXCLUDE_NAMESPACES"}
		}
	}

	if c.From == nil {
		return nil
	}

	var only []string
	for _, ns := range c.Only {
		only = append(only, ns.String())
	}

	if c.From.Flow != c.Flow || c.From.StreamID != c.Stream.StreamID || !slices.Equal(c.From.Only, only) {
		return &refusedError{
			what: fmt.Sprintf("%s is of flow %s, stream %s, with other namespaces, or of one that was made anew", path, c.From.Flow, c.From.StreamID),
			next: "give the same FLOW and --namespace as before, or run relayctl verify without --resume",
		}
	}

	return nil
}

// interrupted says what an error means, and how to go on.
func interrupted(ctx context.Context, opened *flow.Opened, path string, err error) error {
	if errors.Is(err, verify.ErrState) {
		return &refusedError{what: path + ": " + err.Error(), next: "run relayctl verify without --resume"}
	}

	if errors.Is(err, verify.ErrNothing) {
		return &refusedError{what: "no collection of the flow exists on either side", next: "check FLOW, --namespace and the flow's filter"}
	}

	e := &interruptedError{cause: trouble(opened, err)}
	if ctx.Err() != nil {
		e.cause = errors.New("interrupted")
	}

	if _, err := os.Stat(path); err == nil {
		e.next = "relayctl verify --resume, with the same flags; the state is in " + path
	} else if helpful, ok := errors.AsType[interface {
		error
		NextStep() string
	}](e.cause); ok {
		e.next = helpful.NextStep()
	}

	return e
}

func trouble(opened *flow.Opened, err error) error {
	side, ok := errors.AsType[*verify.SideError](err)

	switch {
	case !ok:
		return opened.StreamTrouble(err)
	case side.Target:
		return opened.TargetTrouble(side.Err)
	default:
		return opened.SourceTrouble(side.Err)
	}
}

// interruptedError is a verification that did not end: not fine, or of the exit code of its cause.
type interruptedError struct {
	cause error
	next  string
}

func (e *interruptedError) Error() string    { return e.cause.Error() }
func (e *interruptedError) NextStep() string { return e.next }

// ExitCode is that of the cause.
func (e *interruptedError) ExitCode() int {
	var coded interface{ ExitCode() int }
	if errors.As(e.cause, &coded) {
		return coded.ExitCode()
	}

	return exitNotFine
}

func (p *program) printReport(r *verify.Report) error {
	var err error
	if p.output == outputJSON {
		err = p.printJSON(r)
	} else {
		err = show.Report(p.out, r)
	}

	if err == nil && r.Outcome != verify.Equal {
		return notFineError{}
	}

	return err
}

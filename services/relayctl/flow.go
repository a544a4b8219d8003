package main

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"maps"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/atlas-relay/atlas-relay/pkg/settings"
	"github.com/atlas-relay/atlas-relay/pkg/telemetry"
	"github.com/atlas-relay/atlas-relay/services/relayctl/internal/flow"
	"github.com/atlas-relay/atlas-relay/services/relayctl/internal/show"
)

// Time that show and delete, and that init, give servers to come up.
const (
	defaultWait = 5 * time.Second
	initWait    = time.Minute
)

func (p *program) flow() *cobra.Command {
	cmd := &cobra.Command{Use: "flow", Short: "Make, show, pause or remove a flow", Args: cobra.NoArgs}
	cmd.AddCommand(p.flowInit(), p.flowShow(), p.flowPause(), p.flowResume(), p.flowDelete(),
		p.flowAcceptGap(), p.flowGaps(), p.flowAcceptDivergence())

	return cmd
}

func (p *program) flowInit() *cobra.Command {
	var (
		s    flow.InitSettings
		by   flow.Operator
		wait time.Duration
	)

	cmd := &cobra.Command{
		Use:   "init",
		Short: "Make the flow's stream and its first message, once",
		Long: "Make the flow's stream and its first message, once. Run it again as often as you like: a stream that\n" +
			"agrees is left alone. Settings come from the environment; flags win. Secrets have no flags, but every\n" +
			"one may be given as <NAME>_FILE.",
		Example: "  SOURCE_URI=mongodb+srv://... TARGET_URI=mongodb://... relayctl flow init\n" +
			"  relayctl flow init --partitions 8 --stream-max-bytes 20GiB\n" +
			"  relayctl flow init --without-existing     with writes stopped, before a dump",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			set, err := p.load(cmd, &s)
			if err != nil {
				return err
			}

			ctx, cancel := context.WithTimeout(cmd.Context(), wait)
			defer cancel()

			ctx = flow.WithWaiting(ctx, flow.Waiting{Told: p.tellWaiting, ForNames: cmd.Flags().Changed("wait")})

			made, err := flow.Init(ctx, &s, set, by, p.log())
			if err != nil {
				return err
			}

			return p.printMade(made)
		},
	}

	addSettingsFlags(cmd, &s)
	p.addOperatorFlags(cmd, &by, "why, for the record")
	cmd.Flags().DurationVar(&wait, "wait", initWait, "how long servers get to come up; unless it is given, hosts with unknown names get 10s")

	return cmd
}

// tellWaiting says what a command waits for, so that a wrong address is not taken for patience.
func (p *program) tellWaiting(what, next string) {
	fmt.Fprintf(p.err, "waiting: %s\n", what)

	if next != "" {
		fmt.Fprintf(p.err, "  %s; Ctrl-C gives up\n", next)
	}
}

func (p *program) printMade(made *flow.Made) error {
	for _, note := range made.Notes {
		fmt.Fprintf(p.err, "note: %s\n", note)
	}

	if p.output == outputJSON {
		return p.printJSON(made)
	}

	text := "flow %s is made: stream %s, id %s\n"
	if !made.Created {
		text = "flow %s was made before and agrees: stream %s, id %s\n"
	}

	_, err := fmt.Fprintf(p.out, text, made.Flow, made.Stream, made.StreamID)

	return err
}

func (p *program) flowShow() *cobra.Command {
	var (
		s flow.ShowSettings
		q question
	)

	cmd := &cobra.Command{
		Use:     "show",
		Short:   "Settings and figures of the flow's stream, and whether the flow is paused",
		Example: "  relayctl flow show\n  relayctl flow show -o json",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if _, err := p.load(cmd, &s); err != nil {
				return err
			}

			ctx, cancel := context.WithTimeout(cmd.Context(), defaultWait)
			defer cancel()

			shown, err := flow.Show(ctx, &s, p.log())
			if err != nil {
				return err
			}

			q.addState(cmd.Context(), shown)

			if p.output == outputJSON {
				return p.printJSON(shown)
			}

			return p.printShown(shown)
		},
	}

	addSettingsFlags(cmd, &s)
	p.addServerFlag(cmd, &q)

	return cmd
}

func (p *program) printShown(s *flow.Shown) error {
	var text strings.Builder

	row := func(name string, value any) { fmt.Fprintf(&text, "%-14s %v\n", name, value) }

	row("flow", s.Flow)

	switch {
	case s.Pause != nil:
		row("state", s.Pause.Text)
	case s.State == "":
		row("state", "unknown because "+show.Printable(s.StateUnknownBecause))
	default:
		row("state", s.State)
	}

	for _, n := range s.PausedNamespaces {
		row("set aside", n.Namespace+" is "+n.Pause.Text)
	}

	row("stream", s.Stream)
	row("stream id", s.StreamID)
	row("source", s.Source)
	row("partitions", s.Partitions)
	row("ddl", s.DDL)
	row("publish", s.Publish)
	row("replicas", s.Replicas)
	row("messages", s.Messages)
	row("sequences", fmt.Sprintf("%d to %d", s.FirstSequence, s.LastSequence))
	row("bytes", fmt.Sprintf("%d of %d", s.Bytes, s.MaxBytes))
	row("consumers", s.Consumers)

	if s.Tail != nil {
		row("events", s.Tail.Event)
		row("skipped", s.Tail.Skipped)
		row("position", s.Tail.Position)
		row("resume token", s.Tail.ResumeToken)
		row("last message", s.Tail.StoreTime.Format(time.RFC3339))
	}

	for _, p := range s.Pinned {
		if p.Pin == "encrypted" {
			row("not replicated", p.Namespace+" (encrypted)")
		} else {
			row("pinned", fmt.Sprintf("%s (%s) to partition %d", p.Namespace, p.Pin, p.Partition))
		}
	}

	_, err := fmt.Fprint(p.out, text.String())

	return err
}

func (p *program) flowDelete() *cobra.Command {
	var (
		s   flow.DeleteSettings
		by  flow.Operator
		yes bool
	)

	cmd := &cobra.Command{
		Use:   "delete",
		Short: "Remove the flow's stream, its keys, and its checkpoints and parked events in the target",
		Long: "Remove the flow's stream, its keys, and its checkpoints and parked events (dead letters too) in the target.\n" +
			"Data that was replicated stays. What was captured and not applied is lost: a new flow needs a fresh copy of\n" +
			"the source. Who did it, and why, stays in the target's audit (relayctl audit): with the target away, nothing is\n" +
			"removed.",
		Example: "  relayctl flow delete            asks for the flow's name\n  relayctl flow delete --yes      for scripts",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if _, err := p.load(cmd, &s); err != nil {
				return err
			}

			if !yes {
				if err := p.confirmDelete(s.Flow); err != nil {
					return err
				}
			}

			ctx, cancel := context.WithTimeout(cmd.Context(), defaultWait)
			defer cancel()

			deleted, err := flow.Delete(ctx, &s, by, p.log())

			return p.printDeleted(s.Flow, deleted, err)
		},
	}

	addSettingsFlags(cmd, &s)
	p.addOperatorFlags(cmd, &by, "why, for the record")
	cmd.Flags().BoolVar(&yes, "yes", false, "do not ask")

	return cmd
}

// confirmDelete has a person type the flow's name; a script says --yes.
func (p *program) confirmDelete(name string) error {
	if !isTerminal(p.in) {
		return &refusedError{what: "flow delete removes flow " + name + " for good and nobody is there to confirm", next: "add --yes"}
	}

	return p.confirm("This removes flow "+name+" for good.", name)
}

// printDeleted names what was removed, also when the rest failed.
func (p *program) printDeleted(name string, deleted []string, failed error) error {
	if p.output == outputJSON {
		if err := p.printJSON(map[string]any{"flow": name, "deleted": append([]string{}, deleted...)}); err != nil {
			return err
		}

		return failed
	}

	for _, what := range deleted {
		fmt.Fprintf(p.out, "deleted %s\n", what)
	}

	if failed == nil && len(deleted) == 0 {
		fmt.Fprintf(p.out, "flow %s: nothing to delete\n", name)
	}

	return failed
}

// addSettingsFlags gives every variable of a settings struct a flag, secrets
// excepted: a command line is no place for them.
func addSettingsFlags(cmd *cobra.Command, s any) {
	for _, f := range settings.Fields(s) {
		if f.Secret {
			continue
		}

		name := flagName(f.Name)
		cmd.Flags().String(name, "", f.Help+" ("+f.Name+")")
		cmd.Flags().Lookup(name).DefValue = f.Default // for the help alone: settings.Load knows it, too

		if f.Type == "true or false" {
			cmd.Flags().Lookup(name).NoOptDefVal = "true"
		}
	}
}

func flagName(variable string) string { return strings.ReplaceAll(strings.ToLower(variable), "_", "-") }

// load reads a settings struct from flags and environment and returns which
// variables were given.
func (p *program) load(cmd *cobra.Command, s any) (map[string]bool, error) {
	environ := maps.Clone(p.environ)
	fields := settings.Fields(s)
	set := make(map[string]bool)

	cmd.Flags().Visit(func(given *pflag.Flag) {
		for _, f := range fields {
			if given.Name == flagName(f.Name) {
				environ[f.Name] = given.Value.String()
			}
		}
	})

	for _, f := range fields {
		set[f.Name] = environ[f.Name] != ""
	}

	return set, settings.Load(s, environ)
}

// log is for what libraries have to say; commands speak through their errors.
func (p *program) log() *slog.Logger {
	return telemetry.NewLogger(p.err, "relayctl", slog.LevelError, outputText)
}

func (p *program) printJSON(value any) error {
	encoder := json.NewEncoder(p.out)
	encoder.SetIndent("", "  ")

	return encoder.Encode(value)
}

// config prints the table of variables that the README holds.
func (p *program) config() *cobra.Command {
	return &cobra.Command{
		Use:   "config",
		Short: "Print the settings reference of flow init as Markdown",
		Args:  cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			for _, f := range settings.Fields(new(flow.InitSettings)) {
				if _, err := fmt.Fprintln(p.out, f.Row()); err != nil {
					return err
				}
			}

			return nil
		},
	}
}

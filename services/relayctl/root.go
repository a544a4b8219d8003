package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"

	"github.com/spf13/cobra"

	"github.com/atlas-relay/atlas-relay/pkg/lifecycle"
	"github.com/atlas-relay/atlas-relay/pkg/telemetry"
)

// Exit codes.
const (
	exitOK      = 0
	exitNotFine = 1
	exitRefused = 2
)

// streams are where a command reads and writes: data to out, messages to err.
type streams struct {
	in  io.Reader
	out io.Writer
	err io.Writer
}

// program is one call of relayctl.
type program struct {
	streams

	environ map[string]string // with what the context adds
	output  string            // -o
	quiet   bool              // -q
	noColor bool              // --no-color
	running bool              // arguments and flags were understood
	prompt  io.Writer         // for questions, with -q; nil: err

	given      map[string]string // the environment without the context
	context    string            // the context in use; empty when there is none
	contextErr error             // why there is none although one is wanted
}

// notFine ends a command that worked with exit code 1: the answer was printed.
type notFineError struct{}

func (notFineError) Error() string { return "not fine" }
func (notFineError) ExitCode() int { return exitNotFine }

// execute runs one command line and returns the exit code. It is the only place
// that prints errors.
func execute(ctx context.Context, s streams, args []string, environ map[string]string) int {
	p := &program{streams: s, environ: maps.Clone(environ)}
	p.enterContext(args)

	if slices.Equal(args, []string{"--version"}) { // what people try first
		args = []string{"version"}
	}

	root := p.root() //nolint:contextcheck // cobra hands ctx to the commands
	root.SetArgs(args)
	root.SetIn(s.in)
	root.SetOut(s.out)
	root.SetErr(s.err)

	err := root.ExecuteContext(ctx)

	switch {
	case err == nil:
		return exitOK
	case errors.As(err, new(notFineError)):
		return exitNotFine
	case errors.As(err, new(doctorError)):
		return lifecycle.ExitCode(err)
	case !p.running: // cobra's own: an unknown command, flag or argument
		fmt.Fprintf(s.err, "relayctl: %v\n  next: relayctl --help\n", err)

		return exitRefused
	}

	fmt.Fprintf(s.err, "relayctl: %v\n", err)

	var helpful interface{ NextStep() string }
	if errors.As(err, &helpful) && helpful.NextStep() != "" {
		fmt.Fprintf(s.err, "  next: %s\n", helpful.NextStep())
	}

	return lifecycle.ExitCode(err)
}

const rootExample = `  relayctl status                    is it fine?
  relayctl doctor                    what is wrong, and what to do
  relayctl top                       the flow, live on the whole terminal
  relayctl stats --watch             one line a second
  relayctl partitions                who owns what, what needs attention first
  relayctl dead-letters list         what was given up
  relayctl audit                     who did what
  relayctl verify                    are source and target equal?
  relayctl flow init                 make a flow's stream (once)
  relayctl flow pause --reason WHY   stop the writes to the target, until flow resume
  relayctl flow show -o json         settings and figures of the stream`

func (p *program) root() *cobra.Command {
	root := &cobra.Command{
		Use:   "relayctl",
		Short: "Ask how a flow is doing, deal with what failed, make and remove flows",
		Long: "Ask how a flow is doing, deal with what failed, make and remove flows.\n\n" +
			"Every command: deploy/COMMANDS.md. What exit codes and errors mean: deploy/ERRORS.md.",
		Example:       rootExample,
		SilenceErrors: true,
		SilenceUsage:  true,
		PersistentPreRunE: func(cmd *cobra.Command, _ []string) error {
			if p.output != outputText && p.output != outputJSON {
				return fmt.Errorf("unknown output %q: use -o text or -o json", p.output)
			}

			p.running = true

			if p.quiet {
				p.prompt, p.err = p.err, io.Discard
			}

			if needsContext(cmd) {
				return p.contextErr
			}

			return nil
		},
	}

	root.PersistentFlags().StringVarP(&p.output, "output", "o", outputText, "form of the answer: text or json")
	root.PersistentFlags().BoolVarP(&p.quiet, "quiet", "q", false, "no notes beside the answer; errors are told all the same")
	root.PersistentFlags().BoolVar(&p.noColor, "no-color", false, "no colours (NO_COLOR)")
	root.PersistentFlags().String("context", p.context, "name of the context to use; '' for none ("+contextVariable+")")
	root.SetUsageFunc(examplesFirst(root.UsageFunc()))
	root.AddCommand(p.status(), p.stats(), p.top(), p.partitions(), p.instances(), p.deadLetters(), p.audit(), p.flow(), p.verify(), p.doctor(),
		p.contextCommands(), p.version(), p.config(), p.commands(), man())
	p.completions(root)
	suggestSubcommands(root)

	return root
}

// Forms of an answer.
const (
	outputText = "text"
	outputJSON = "json"
)

// examplesFirst prints the examples before the rest of cobra's usage: they are
// what most readers came for. A template of our own would do it too, but then
// the linker keeps every exported method there is: six megabytes.
func examplesFirst(usage func(*cobra.Command) error) func(*cobra.Command) error {
	return func(cmd *cobra.Command) error {
		example := cmd.Example
		if example == "" {
			return usage(cmd)
		}

		cmd.Example = ""
		defer func() { cmd.Example = example }()

		if _, err := fmt.Fprintf(cmd.OutOrStderr(), "Examples:\n%s\n\n", example); err != nil {
			return err
		}

		return usage(cmd)
	}
}

func (p *program) version() *cobra.Command {
	return &cobra.Command{
		Use:   "version",
		Short: "Print the version",
		Args:  cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			if p.output == outputJSON {
				return p.printJSON(map[string]string{"version": telemetry.Version()})
			}

			_, err := fmt.Fprintln(p.out, "relayctl", telemetry.Version())

			return err
		},
	}
}

// color tells whether the answer goes to a person who did not refuse colours
// (no-color.org).
func (p *program) color() bool {
	return !p.noColor && p.environ["NO_COLOR"] == "" && p.isDrawable(p.out)
}

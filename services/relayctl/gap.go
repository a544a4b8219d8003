package main

import (
	"context"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/atlas-relay/atlas-relay/services/relayctl/internal/flow"
)

// gapWait is the time that accept-gap gives servers to come up.
const gapWait = 30 * time.Second

func (p *program) flowAcceptGap() *cobra.Command {
	var (
		s       flow.GapSettings
		request flow.GapRequest
		yes     bool
	)

	cmd := &cobra.Command{
		Use:   "accept-gap",
		Short: "Go on although the source no longer has the changes that come next",
		Long: "Go on although the source no longer has the changes that come next. What was not captured is missing in the\n" +
			"target: the gap is recorded there for ever, and status says DIVERGED until flow accept-divergence. The listener\n" +
			"goes on by itself. Refused while the source still has everything. Run it again after a crash: it finishes the\n" +
			"gap that it began.\n\n" +
			"Where the stream has a hole, and the source no longer has what would have to be published again, all partitions\n" +
			"pass over it: what was in the stream and not applied is part of the gap.\n\n" +
			"Where the stream itself is gone or empty, it is made anew, with the settings of flow init; what was in it and\n" +
			"not applied is part of the gap.",
		Example: "  relayctl flow accept-gap --reason \"oplog too short during the move\"\n" +
			"  relayctl flow accept-gap --at 2026-01-31T08:30:00Z --reason INC-12 --dry-run",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			set, err := p.load(cmd, &s)
			if err != nil {
				return err
			}

			request.Set = set

			if err := p.requireReason(request.By.Reason); err != nil {
				return err
			}

			if !yes && !request.DryRun {
				if err := p.confirmFlow("accept-gap", "leaves a gap in flow "+s.Flow+" for good", s.Flow); err != nil {
					return err
				}
			}

			ctx, cancel := context.WithTimeout(cmd.Context(), gapWait)
			defer cancel()

			accepted, err := flow.AcceptGap(ctx, &s, request, p.log())
			if err != nil {
				return err
			}

			return p.printAcceptedGap(accepted)
		},
	}

	addSettingsFlags(cmd, &s)
	_ = cmd.Flags().MarkHidden("without-existing") // it fails for a flag that is not there
	cmd.Flags().StringVar(&request.At, "at", "", "where to go on: now, a time such as 2026-01-31T08:30:00Z, or a resume token; "+
		"without it behind what the stream has if the source can be read there, else now")
	p.addAcceptFlags(cmd, &request.By, &yes, &request.DryRun)

	return cmd
}

func (p *program) addAcceptFlags(cmd *cobra.Command, by *flow.Operator, yes, dryRun *bool) {
	p.addOperatorFlags(cmd, by, "why, for those who ask later; required")
	cmd.Flags().BoolVar(yes, "yes", false, "do not ask")
	cmd.Flags().BoolVar(dryRun, "dry-run", false, "only show what would be done")
}

func (*program) requireReason(reason string) error {
	if reason == "" {
		return &refusedError{what: "--reason is missing: what is accepted is kept with it", next: "add --reason \"why\""}
	}

	return nil
}

// confirmFlow has a person type the flow's name; a script says --yes.
func (p *program) confirmFlow(command, what, name string) error {
	if !isTerminal(p.in) {
		return &refusedError{what: "flow " + command + " " + what + " and nobody is there to confirm", next: "add --yes"}
	}

	return p.confirm("This "+what+".", name)
}

func (p *program) printAcceptedGap(a *flow.AcceptedGap) error {
	if p.output == outputJSON {
		return p.printJSON(a)
	}

	what := "the gap is recorded, the listener goes on behind it"

	switch {
	case a.DryRun && a.Resumed:
		what = "a gap that was begun before would be finished"
	case a.DryRun:
		what = "this gap would be recorded"
	case a.Resumed:
		what = "the gap that was begun before is finished, the listener goes on behind it"
	}

	_, err := fmt.Fprintf(p.out, "%s: %s\nmissing are the changes from %s (%s) to %s (%s)\n", what, a.Gap.ID,
		a.Gap.From, a.Gap.FromTime.Format(time.RFC3339), a.Gap.To, a.Gap.ToTime.Format(time.RFC3339))
	if err == nil && a.Gap.Lost > 0 {
		_, err = fmt.Fprintf(p.out, "of what was captured in that range %d changes at least are not applied\n", a.Gap.Lost)
	}

	return err
}

func (p *program) flowAcceptDivergence() *cobra.Command {
	var (
		s           flow.TargetSettings
		by          flow.Operator
		yes, dryRun bool
	)

	cmd := &cobra.Command{
		Use:   "accept-divergence",
		Short: "Accept that the target differs by what is known now",
		Long: "Accept that the target differs by what is known now: accepted gaps, and changes of kinds that cannot be applied.\n" +
			"status no longer says DIVERGED for these; what comes later counts again. Dead letters are not meant: replay\n" +
			"or discard them.",
		Example: "  relayctl flow accept-divergence --reason \"compared and mended by hand\"\n" +
			"  relayctl flow accept-divergence --reason INC-12 --dry-run -o json",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if _, err := p.load(cmd, &s); err != nil {
				return err
			}

			if err := p.requireReason(by.Reason); err != nil {
				return err
			}

			if !yes && !dryRun {
				if err := p.confirmFlow("accept-divergence", "accepts that the target of flow "+s.Flow+" differs", s.Flow); err != nil {
					return err
				}
			}

			ctx, cancel := context.WithTimeout(cmd.Context(), defaultWait)
			defer cancel()

			accepted, err := flow.AcceptDivergence(ctx, &s, by, dryRun)

			return p.printDivergence(s.Flow, accepted, dryRun, err)
		},
	}

	addSettingsFlags(cmd, &s)
	p.addAcceptFlags(cmd, &by, &yes, &dryRun)

	return cmd
}

// printDivergence names what was accepted, also when the rest failed; when nothing was, there is only the error.
func (p *program) printDivergence(name string, accepted []string, dryRun bool, failed error) error {
	if failed != nil && len(accepted) == 0 {
		return failed
	}

	if p.output == outputJSON {
		if err := p.printJSON(map[string]any{"flow": name, "accepted": append([]string{}, accepted...), "dry_run": dryRun}); err != nil {
			return err
		}

		return failed
	}

	verb := "accepted"
	if dryRun {
		verb = "would accept"
	}

	for _, what := range accepted {
		fmt.Fprintf(p.out, "%s: %s\n", verb, what)
	}

	if failed == nil && len(accepted) == 0 {
		fmt.Fprintf(p.out, "flow %s: nothing to accept\n", name)
	}

	return failed
}

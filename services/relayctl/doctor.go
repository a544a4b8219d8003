package main

import (
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"github.com/atlas-relay/atlas-relay/pkg/event"
	"github.com/atlas-relay/atlas-relay/pkg/preflight"
	"github.com/atlas-relay/atlas-relay/pkg/settings"
	"github.com/atlas-relay/atlas-relay/pkg/tlsfiles"
	"github.com/atlas-relay/atlas-relay/services/relayctl/internal/flow"
)

// doctorError ends doctor with the exit code of what it found.
type doctorError struct{ code int }

func (doctorError) Error() string   { return "checks failed" }
func (e doctorError) ExitCode() int { return e.code }

func (p *program) doctor() *cobra.Command {
	var (
		s       flow.InitSettings
		list    bool
		verbose bool
	)

	cmd := &cobra.Command{
		Use:   "doctor",
		Short: "Check settings, both servers, NATS and the flow, and show every finding at once",
		Long: "Check settings, both servers, NATS and the flow, and show every finding at once. It takes the variables of\n" +
			"flow init, writes nothing to the source, and ends within 15 s. Codes: deploy/DOCTOR.md.\n" +
			"Exit code: 2 the configuration cannot work, else 3 a server is away, else 1 a check failed, else 0.",
		Example: "  relayctl doctor\n  relayctl doctor --all         what is fine, too\n  relayctl doctor -o json",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if list && p.output == outputJSON {
				return p.printJSON(map[string]any{"checks": preflight.Checks()})
			}

			if list {
				_, err := io.WriteString(p.out, preflight.Reference())

				return err
			}

			findings, err := p.examine(cmd, &s)
			if err != nil {
				return err
			}

			return p.printFindings(findings, verbose)
		},
	}

	addSettingsFlags(cmd, &s)
	cmd.Flags().BoolVar(&list, "list", false, "print what is checked instead, as Markdown or JSON")
	cmd.Flags().BoolVar(&verbose, "all", false, "show what is fine, too")

	return cmd
}

// examine runs the checks, also with settings that are partly wrong.
func (p *program) examine(cmd *cobra.Command, s *flow.InitSettings) ([]preflight.Finding, error) {
	set, err := p.load(cmd, s)

	var wrong *settings.Error
	if err != nil && !errors.As(err, &wrong) {
		return nil, err
	}

	o := preflight.Options{
		Flow: s.Flow, NATS: s.NATS, SourceURI: s.SourceURI, TargetURI: s.TargetURI, MaxBytes: int64(s.MaxBytes), Log: p.log(),
		DDL: s.ReplicatesSchema(),
		API: tlsfiles.Files{
			Cert: tlsfiles.File{Setting: "API_CERT", Path: p.environ["API_CERT"]}, Key: tlsfiles.File{Setting: "API_KEY", Path: p.environ["API_KEY"]},
			CA: tlsfiles.File{Setting: "API_CLIENT_CA", Path: p.environ["API_CLIENT_CA"]},
		},
	}

	if wrong != nil {
		o.Mistakes = wrong.Mistakes
	}

	if set["PARTITIONS"] {
		o.Partitions = s.Partitions
	}

	// A wrong pattern is among the mistakes; then everything is in scope.
	o.Filter, _ = event.ParseFilter(s.Include.Patterns(), s.Exclude.Patterns())

	w := preflight.New(o)
	defer w.Close(cmd.Context())

	return preflight.Run(cmd.Context(), w, preflight.Checks()), nil
}

func (p *program) printFindings(findings []preflight.Finding, all bool) error {
	var err error
	if p.output == outputJSON {
		err = p.printJSON(map[string]any{"checks": findings})
	} else {
		err = p.writeFindings(findings, all)
	}

	if code := preflight.ExitCode(findings); err == nil && code != exitOK {
		return doctorError{code: code}
	}

	return err
}

// writeFindings shows failures first: they are what most readers came for.
func (p *program) writeFindings(findings []preflight.Finding, all bool) error {
	var text strings.Builder

	counts := make(map[preflight.Status]int)
	order := []preflight.Status{preflight.Failed, preflight.Warning, preflight.Unknown, preflight.Skipped, preflight.OK}

	for _, status := range order {
		for _, f := range findings {
			if f.Status != status {
				continue
			}

			counts[status]++

			if status != preflight.OK || all {
				text.WriteString(p.finding(f))
			}
		}
	}

	var sums []string
	for _, status := range order {
		sums = append(sums, fmt.Sprintf("%d %s", counts[status], status))
	}

	fmt.Fprintf(&text, "%s\n", strings.Join(sums, ", "))

	_, err := io.WriteString(p.out, text.String())

	return err
}

func (p *program) finding(f preflight.Finding) string {
	glyphs := map[preflight.Status]string{
		preflight.Failed: "✗", preflight.Warning: "!", preflight.Unknown: "?", preflight.Skipped: "-", preflight.OK: "✓",
	}
	colors := map[preflight.Status]string{preflight.Failed: "31", preflight.Warning: "33", preflight.OK: "32"}

	glyph := glyphs[f.Status]
	if color := colors[f.Status]; color != "" && p.color() {
		glyph = "\x1b[" + color + "m" + glyph + "\x1b[0m"
	}

	line := fmt.Sprintf("%s %s  %s\n", glyph, f.Code, f.What)

	if f.Where != "" {
		line += "           at: " + f.Where + "\n"
	}

	if f.Why != "" {
		line += "          why: " + f.Why + "\n"
	}

	if f.Remedy != "" {
		line += "           →   " + f.Remedy + "\n"
	}

	return line
}

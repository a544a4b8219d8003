package main

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/atlas-relay/atlas-relay/services/relayctl/internal/contexts"
	"github.com/atlas-relay/atlas-relay/services/relayctl/internal/nearest"
)

const contextVariable = "RELAYCTL_CONTEXT"

// enterContext fills the environment from the context that the arguments, the environment or the file name, in this
// order. The flags of the commands take their defaults from the environment, so it comes before there are any.
func (p *program) enterContext(args []string) {
	name, given := contextArgument(args)
	if !given {
		name = p.environ[contextVariable]
		given = name != ""
	}

	p.given = maps.Clone(p.environ)

	if given && name == "" {
		return // none is wanted
	}

	path, err := contexts.Path(p.environ)
	if err != nil {
		if given {
			p.contextErr = err
		}

		return
	}

	file, err := contexts.Load(path)
	if err != nil {
		p.contextErr = err

		return
	}

	if !given {
		name = file.Current
	}

	if name == "" {
		return
	}

	chosen, found := file.Contexts[name]
	if !found {
		p.contextErr = unknownContext(file, name)

		return
	}

	p.context = name
	chosen.Fill(p.environ)
}

// contextArgument finds --context before cobra reads the flags; the last one counts.
func contextArgument(args []string) (name string, given bool) {
	for i, arg := range args {
		if arg == "--" {
			break
		}

		if value, found := strings.CutPrefix(arg, "--context="); found {
			name, given = value, true
		} else if arg == "--context" && i+1 < len(args) {
			name, given = args[i+1], true
		}
	}

	return name, given
}

func unknownContext(file *contexts.File, name string) error {
	next := "relayctl context add " + name + " --server host:port"
	if names := file.Names(); len(names) > 0 {
		next = "relayctl context list"
	}

	return &refusedError{what: fmt.Sprintf("there is no context %q%s", name, nearest.Question(name, file.Names())), next: next}
}

// needsContext tells whether a command reads what a context holds.
func needsContext(cmd *cobra.Command) bool {
	for ; cmd.HasParent(); cmd = cmd.Parent() {
		switch cmd.Name() {
		case "context", "completion", "help", "version", "config", cobra.ShellCompRequestCmd, cobra.ShellCompNoDescRequestCmd:
			return false
		}
	}

	return true
}

func (p *program) contextCommands() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "context",
		Short: "Keep addresses and settings of several places under names",
		Long: "Keep addresses and settings of several places under names, in $XDG_CONFIG_HOME/atlas-relay/contexts.yaml.\n\n" +
			"A flag wins over the environment, the environment over the context, the context over the default. A context is\n" +
			"chosen by --context, by " + contextVariable + ", or by context use; --context '' is none. It holds no secret, only\n" +
			"the paths of files with secrets.",
		Args: cobra.NoArgs,
	}
	cmd.AddCommand(p.contextAdd(), p.contextList(), p.contextUse(), p.contextShow(), p.contextRemove())

	return cmd
}

// loadContexts returns the file and where it is.
func (p *program) loadContexts() (*contexts.File, string, error) {
	path, err := contexts.Path(p.environ)
	if err != nil {
		return nil, "", err
	}

	file, err := contexts.Load(path)

	return file, path, err
}

// contextJSON is a context in answers for programs.
type contextJSON struct {
	Name     string            `json:"name"`
	Current  bool              `json:"current"`
	Settings map[string]string `json:"settings"`
}

func (p *program) contextList() *cobra.Command {
	return &cobra.Command{
		Use:     "list",
		Short:   "List the contexts",
		Example: "  relayctl context list\n  relayctl context list -o json | jq -r '.contexts[].name'",
		Args:    cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			file, _, err := p.loadContexts()
			if err != nil {
				return err
			}

			if p.output == outputJSON {
				list := []contextJSON{}
				for _, name := range file.Names() {
					list = append(list, contextJSON{Name: name, Current: name == file.Current, Settings: file.Contexts[name]})
				}

				return p.printJSON(map[string]any{"contexts": list})
			}

			if len(file.Contexts) == 0 {
				fmt.Fprintln(p.err, "there are no contexts\nnext: relayctl context add NAME --server host:port")

				return nil
			}

			const gap = 2

			table := tabwriter.NewWriter(p.out, 0, 0, gap, ' ', 0)
			fmt.Fprintln(table, "CURRENT\tNAME\tSERVER\tFLOW")

			for _, name := range file.Names() {
				mark := ""
				if name == file.Current {
					mark = "*"
				}

				fmt.Fprintf(table, "%s\t%s\t%s\t%s\n", mark, name, file.Contexts[name]["server"], file.Contexts[name]["flow"])
			}

			return table.Flush()
		},
	}
}

func (p *program) contextUse() *cobra.Command {
	return &cobra.Command{
		Use:               "use NAME",
		Short:             "Use a context from now on",
		Example:           "  relayctl context use prod\n  relayctl status --context edge      only this once",
		Args:              cobra.ExactArgs(1),
		ValidArgsFunction: p.completeContexts(),
		RunE: func(_ *cobra.Command, args []string) error {
			return p.changeContexts(args[0], "is used from now on", func(file *contexts.File) { file.Current = args[0] })
		},
	}
}

func (p *program) contextRemove() *cobra.Command {
	return &cobra.Command{
		Use:               "remove NAME",
		Short:             "Remove a context; the files that it names stay",
		Example:           "  relayctl context remove edge",
		Args:              cobra.ExactArgs(1),
		ValidArgsFunction: p.completeContexts(),
		RunE: func(_ *cobra.Command, args []string) error {
			return p.changeContexts(args[0], "is removed", func(file *contexts.File) {
				delete(file.Contexts, args[0])

				if file.Current == args[0] {
					file.Current = ""
				}
			})
		},
	}
}

func (p *program) changeContexts(name, done string, change func(*contexts.File)) error {
	file, path, err := p.loadContexts()
	if err != nil {
		return err
	}

	settings, found := file.Contexts[name]
	if !found {
		return unknownContext(file, name)
	}

	change(file)

	if err := file.Save(path); err != nil {
		return err
	}

	if p.output == outputJSON {
		return p.printJSON(contextJSON{Name: name, Current: file.Current == name, Settings: settings})
	}

	_, err = fmt.Fprintf(p.out, "context %s %s\n", name, done)

	return err
}

func (p *program) contextShow() *cobra.Command {
	return &cobra.Command{
		Use:               "show [NAME]",
		Short:             "Show what a context holds; the one in use when none is named",
		Example:           "  relayctl context show\n  relayctl context show prod -o json",
		Args:              cobra.MaximumNArgs(1),
		ValidArgsFunction: p.completeContexts(),
		RunE: func(_ *cobra.Command, args []string) error {
			file, _, err := p.loadContexts()
			if err != nil {
				return err
			}

			name := p.context

			switch {
			case len(args) > 0:
				name = args[0]
			case p.contextErr != nil:
				return p.contextErr
			case name == "":
				return &refusedError{what: "no context is in use", next: "relayctl context use NAME, or name one: relayctl context show NAME"}
			}

			shown, found := file.Contexts[name]
			if !found {
				return unknownContext(file, name)
			}

			return p.printContext(contextJSON{Name: name, Current: name == file.Current, Settings: shown})
		},
	}
}

func (p *program) printContext(shown contextJSON) error {
	if p.output == outputJSON {
		return p.printJSON(shown)
	}

	fmt.Fprintf(p.out, "%-15s  %s\n", "context", shown.Name)

	for _, s := range contexts.Settings() {
		value, found := shown.Settings[s.Key]
		if !found {
			continue
		}

		note := ""
		if by := s.Overridden(p.given); by != "" {
			note = "   (the environment's " + by + " wins)"
		}

		fmt.Fprintf(p.out, "%-15s  %s%s\n", s.Key, value, note)
	}

	return nil
}

// completeContexts offers the names of contexts to the shell, with their servers.
func (p *program) completeContexts() cobra.CompletionFunc {
	return func(_ *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
		file, _, err := p.loadContexts()
		if err != nil || len(args) > 0 {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}

		return slices.Collect(func(yield func(string) bool) {
			for _, name := range file.Names() {
				if !yield(cobra.CompletionWithDesc(name, file.Contexts[name]["server"])) {
					return
				}
			}
		}), cobra.ShellCompDirectiveNoFileComp
	}
}

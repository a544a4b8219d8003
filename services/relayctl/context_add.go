package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/atlas-relay/atlas-relay/services/relayctl/internal/contexts"
)

func (p *program) contextAdd() *cobra.Command {
	var replace, use bool

	values := make(map[string]*string)

	cmd := &cobra.Command{
		Use:   "add NAME",
		Short: "Add a context",
		Example: "  relayctl context add prod --server stats.example.net:50051 --flow atlas-to-local --token-file ~/.prod-token\n" +
			"  relayctl context add edge --nats-url nats://edge:4222 --target-uri-file /run/secrets/edge --use",
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			file, path, err := p.loadContexts()
			if err != nil {
				return err
			}

			added, err := newContext(args[0], cmd.Flags().Changed, values)
			if err != nil {
				return err
			}

			if _, found := file.Contexts[args[0]]; found && !replace {
				return &refusedError{what: "there is a context " + args[0] + " already", next: "choose another name, or add --replace"}
			}

			file.Contexts[args[0]] = added
			if use {
				file.Current = args[0]
			}

			if err := file.Save(path); err != nil {
				return err
			}

			return p.printAdded(args[0], added, use)
		},
	}

	for _, s := range contexts.Settings() {
		values[s.Key] = cmd.Flags().String(s.Key, "", s.Help+" ("+s.Variable+")")
	}

	cmd.Flags().BoolVar(&replace, "replace", false, "replace a context of this name")
	cmd.Flags().BoolVar(&use, "use", false, "use it from now on")

	return cmd
}

// newContext tells all mistakes at once.
func newContext(name string, given func(string) bool, values map[string]*string) (contexts.Context, error) {
	var wrong []string

	if err := contexts.CheckName(name); err != nil {
		wrong = append(wrong, err.Error())
	}

	added := make(contexts.Context)

	for _, s := range contexts.Settings() {
		if !given(s.Key) {
			continue
		}

		value := *values[s.Key]
		if s.IsPath && value != "" {
			if absolute, err := filepath.Abs(value); err == nil {
				value = absolute
			}
		}

		if err := s.Check(value); err != nil {
			wrong = append(wrong, "--"+err.Error())
		}

		added[s.Key] = value
	}

	if len(added) == 0 {
		wrong = append(wrong, "there is nothing to keep: no setting is given")
	}

	if wrong != nil {
		return nil, &refusedError{what: strings.Join(wrong, "\n"), next: "relayctl context add --help"}
	}

	return added, nil
}

func (p *program) printAdded(name string, added contexts.Context, used bool) error {
	for _, s := range contexts.Settings() {
		if path := added[s.Key]; s.IsPath && path != "" {
			if _, err := os.Stat(path); err != nil {
				fmt.Fprintf(p.err, "note: %s: %v\n", s.Key, err)
			}
		}
	}

	if p.output == outputJSON {
		return p.printJSON(contextJSON{Name: name, Current: used, Settings: added})
	}

	fmt.Fprintf(p.out, "context %s is added\n", name)

	if !used {
		fmt.Fprintf(p.err, "next: relayctl context use %s\n", name)
	}

	return nil
}

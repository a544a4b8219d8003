package main

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"
	"google.golang.org/genproto/googleapis/rpc/errdetails"

	"github.com/atlas-relay/atlas-relay/services/relayctl/internal/nearest"
)

// suggestSubcommands has the commands that only hold others refuse a wrong name, with what may be meant: cobra does so
// at the root only, and would print the help and call it a success.
func suggestSubcommands(root *cobra.Command) {
	for _, cmd := range root.Commands() {
		if !cmd.HasSubCommands() || cmd.Runnable() {
			continue
		}

		cmd.Args = cobra.ArbitraryArgs
		cmd.RunE = func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 {
				return cmd.Help()
			}

			var names []string
			for _, child := range cmd.Commands() {
				names = append(names, child.Name())
			}

			return &refusedError{
				what: fmt.Sprintf("unknown command %q for %q%s", args[0], cmd.CommandPath(), nearest.Question(args[0], names)),
				next: cmd.CommandPath() + " --help",
			}
		}
	}
}

// flowRemedy is the remedy of the service, or for the name of a flow that is nearly one of the service's what was meant.
func flowRemedy(info *errdetails.ErrorInfo, remedy string) string {
	flow, known := info.GetMetadata()["flow"], info.GetMetadata()["flows"]
	if flow == "" || known == "" {
		return remedy
	}

	if meant := nearest.To(flow, strings.Split(known, ", ")); meant != "" {
		return "--flow " + meant + ", if that was meant; else " + remedy
	}

	return remedy
}

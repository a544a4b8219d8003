package main

import (
	"os"
	"os/user"

	"github.com/spf13/cobra"

	"github.com/atlas-relay/atlas-relay/services/relayctl/internal/flow"
)

const operatorVariable = "RELAY_OPERATOR"

// addOperatorFlags is addRecordFlags for what changes a flow.
func (p *program) addOperatorFlags(cmd *cobra.Command, by *flow.Operator, reason string) {
	p.addRecordFlags(cmd, &by.Name, &by.Reason, reason)
}

// addRecordFlags asks who acts and why, for the audit.
func (p *program) addRecordFlags(cmd *cobra.Command, who, why *string, reason string) {
	cmd.Flags().StringVar(why, "reason", "", reason)
	cmd.Flags().StringVar(who, "as", p.environ[operatorVariable], "who you are, for the record ("+operatorVariable+")")

	if *who == "" {
		*who = thisUser()
		cmd.Flags().Lookup("as").DefValue = "user@host" // whoever reads the help
	}
}

// thisUser is user@host, as far as known.
func thisUser() string {
	name := "unknown"
	if u, err := user.Current(); err == nil {
		name = u.Username
	}

	if host, err := os.Hostname(); err == nil {
		name += "@" + host
	}

	return name
}

package main

import (
	"fmt"
	"os"

	"github.com/spf13/cobra"
	"github.com/spf13/cobra/doc"
)

// man writes the manual pages, for those who make packages.
func man() *cobra.Command {
	return &cobra.Command{
		Use:   "man FOLDER",
		Short: "Write a manual page for each command into a folder",
		Long: "Write a manual page for each command into a folder, which is made.\n\n" +
			"The pages bear the date of SOURCE_DATE_EPOCH (seconds) when that is set, so that a build can be repeated.",
		Example: "  relayctl man /usr/local/share/man/man1",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := os.MkdirAll(args[0], 0o755); err != nil { //nolint:gosec // manual pages are for everybody
				return fmt.Errorf("make the folder of the manual pages: %w", err)
			}

			cmd.Root().DisableAutoGenTag = true

			if err := doc.GenManTree(cmd.Root(), &doc.GenManHeader{Section: "1", Source: "Atlas Relay"}, args[0]); err != nil {
				return fmt.Errorf("write manual pages into %s: %w", args[0], err)
			}

			return nil
		},
	}
}

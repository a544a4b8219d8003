package show

import (
	"fmt"
	"io"
	"strings"
	"text/tabwriter"

	relayv1 "github.com/atlas-relay/atlas-relay/proto/relay/v1"
)

// Audit prints a table of who did what.
func Audit(w io.Writer, records []*relayv1.AuditRecord) error {
	if len(records) == 0 {
		_, err := fmt.Fprintln(w, "nothing was done")

		return err
	}

	const space = 2

	table := tabwriter.NewWriter(w, 0, 0, space, ' ', 0)
	fmt.Fprintln(table, "TIME\tACTION\tCHANGED\tLEFT\tWHO\tFOR\tWHY")

	for _, r := range records {
		fmt.Fprintln(table, strings.Join(auditCells(r), "\t"))
	}

	return table.Flush()
}

func auditCells(r *relayv1.AuditRecord) []string {
	why := plainText(r.GetWhy())
	if r.GetFailedBecause() != "" {
		why += " (ended early: " + plainText(r.GetFailedBecause()) + ")"
	}

	return []string{
		moment(r.GetTime()), plainText(r.GetAction()), number(r.Changed), number(r.Refused), //nolint:protogetter // the getter says 0 for what is unknown
		plainText(r.GetWho()), plainText(r.GetSelection()), why,
	}
}

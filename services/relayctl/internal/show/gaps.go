package show

import (
	"fmt"
	"io"
	"strings"
	"text/tabwriter"

	relayv1 "github.com/atlas-relay/atlas-relay/proto/relay/v1"
)

// Gaps prints a table of accepted gaps.
func Gaps(w io.Writer, gaps []*relayv1.Gap) error {
	if len(gaps) == 0 {
		_, err := fmt.Fprintln(w, "no gaps")

		return err
	}

	const space = 2

	table := tabwriter.NewWriter(w, 0, 0, space, ' ', 0)
	fmt.Fprintln(table, "GAP\tSTATE\tFROM\tTO\tLOST\tBY\tAT\tDIVERGENCE\tREASON")

	for _, g := range gaps {
		divergence := "not accepted"
		if g.GetDivergence() != nil {
			divergence = "accepted by " + plainText(g.GetDivergence().GetBy())
		}

		fmt.Fprintf(table, "%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\n", plainText(g.GetName()), gapState(g), moment(g.GetFromTime()), moment(g.GetToTime()),
			lost(g), plainText(g.GetRequested().GetBy()), moment(g.GetRequested().GetTime()), divergence, plainText(g.GetRequested().GetReason()))
	}

	return table.Flush()
}

func gapState(g *relayv1.Gap) string {
	return strings.ToLower(strings.TrimPrefix(g.GetState().String(), "GAP_STATE_"))
}

// lost is how many events were in the stream and are applied nowhere; of what was
// not captured nobody knows how much it is.
func lost(g *relayv1.Gap) string {
	if g.GetReplacedBy() == "" && g.GetLostEvents() == 0 {
		return "unknown"
	}

	return fmt.Sprintf("at least %d", g.GetLostEvents())
}

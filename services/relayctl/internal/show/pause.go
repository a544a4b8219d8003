package show

import (
	"fmt"
	"io"
	"strings"
	"time"

	relayv1 "github.com/atlas-relay/atlas-relay/proto/relay/v1"
)

// Pause is a pause on one line.
func Pause(p *relayv1.Pause) string {
	text := "paused by " + plainText(p.GetBy()) + " since " + p.GetSince().AsTime().UTC().Format(time.RFC3339)
	if p.GetReason() != "" {
		text += ": " + plainText(p.GetReason())
	}

	return text
}

// Namespace is "db.coll", or "db" for a whole database.
func Namespace(n *relayv1.Namespace) string {
	return plainText(strings.TrimSuffix(n.GetDatabase()+"."+n.GetCollection(), "."))
}

// Flow prints whether a flow and its namespaces are paused, after a request that has changed that or not.
func Flow(w io.Writer, f *relayv1.FlowControl, changed bool) error {
	var text strings.Builder

	state := "runs"
	if f.GetPause() != nil {
		state = "is " + Pause(f.GetPause())
	}

	fmt.Fprintf(&text, "flow %s %s\n", plainText(f.GetName()), state)

	for _, n := range f.GetPausedNamespaces() {
		fmt.Fprintf(&text, "  %s is %s\n", Namespace(n.GetNamespace()), Pause(n.GetPause()))
	}

	if !changed {
		text.WriteString("nothing was changed: it was so before\n")
	}

	_, err := io.WriteString(w, text.String())

	return err
}

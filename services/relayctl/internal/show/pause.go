package show

import (
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

package catalog

import (
	"fmt"

	"github.com/atlas-relay/atlas-relay/pkg/event"
)

// ConflictError says that something is there already under that name, and is
// something else. Only people know which of the two is right.
type ConflictError struct {
	Namespace event.Namespace
	What      string // "collection", "view", "index email_1" …
	Want      string // the source's definition
	Have      string // that of the target; empty: there is none
}

func (e *ConflictError) Error() string {
	if e.Have == "" {
		return fmt.Sprintf("%s: there is no %s on the target; the source has %s", e.Namespace, e.What, e.Want)
	}

	return fmt.Sprintf("%s: the target has another %s: %s; the source has %s", e.Namespace, e.What, e.Have, e.Want)
}

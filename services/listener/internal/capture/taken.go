package capture

import (
	"fmt"

	"github.com/atlas-relay/atlas-relay/pkg/event"
)

// takes tells whether an event is published. What it leaves out is counted as
// skipped.
func (s *session) takes(e *event.Event) (bool, error) {
	if !s.ddl {
		taken := s.filter.Takes(e.Namespace)
		if !taken {
			return false, nil
		}

		return true, refuseUnroutable(e)
	}

	switch e.Operation {
	case event.Rename:
		return s.takesRename(e)
	case event.DropDatabase:
		// The server drops each collection first, with an event of its own. What is
		// left of the database belongs to it only if all of it does.
		return s.filter.TakesAll(e.Namespace.DB), nil
	default:
	}

	if !s.filter.Takes(e.Namespace) {
		return false, nil
	}

	_, skipped := s.ledger.IsSkipped(e)

	return !skipped, nil
}

// takesRename refuses one that leads over the border of what is replicated: the
// target has no documents of a collection that comes in, and would keep those of
// one that leaves.
func (s *session) takesRename(e *event.Event) (bool, error) {
	from, to := s.filter.Takes(e.Namespace), s.filter.Takes(e.To)
	if from == to {
		return from, nil
	}

	outside := e.To
	if to {
		outside = e.Namespace
	}

	return false, failed(
		fmt.Errorf("the source has renamed %s to %s, and %s is not replicated", e.Namespace, e.To, outside),
		fmt.Sprintf("have INCLUDE_NAMESPACES and EXCLUDE_NAMESPACES take both names, or neither, and restart the listener; "+
			"a target that lacks %s, or keeps it, has to be made equal by hand: this rename cannot do it", e.Namespace),
	)
}

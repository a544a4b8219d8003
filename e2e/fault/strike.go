package fault

import (
	"fmt"
	"time"
)

// Kind is what a strike does.
type Kind string

// The kinds.
const (
	Kill   Kind = "kill"
	Freeze Kind = "freeze"
	Join   Kind = "join"
	Leave  Kind = "leave"
)

// Strike is one thing that happens to the processors. It is told before it does, and one that ends by itself once more.
type Strike struct {
	Number     int // from 1
	Kind       Kind
	Service    string        // that it happens to; empty for one that joins
	PID        int           // of its process then
	Lasts      time.Duration // of a freeze
	Processors int           // that are to be there then
	Ended      bool
}

// String is for people.
func (s Strike) String() string {
	switch {
	case s.Ended:
		return s.Service + " goes on"
	case s.Kind == Freeze:
		return fmt.Sprintf("freeze %s for %s", s.Service, s.Lasts)
	case s.Kind == Join:
		return fmt.Sprintf("add a processor: %d", s.Processors)
	case s.Kind == Leave:
		return fmt.Sprintf("remove a processor: %d", s.Processors)
	default:
		return "kill -9 " + s.Service
	}
}

// Package failpoint names the places where a service can be made to fail, so that a test breaks it exactly there:
// between a commit and its ack, with a reply that never came, at the third part of an event.
//
// The names stand in [Table]. A service is built with the tag failpoints to have them; in every other build [Pass] and
// [Error] are empty, are inlined, and leave nothing behind. In a build that has them the environment arms points:
//
//	RELAY_FAILPOINTS=processor.commit-sent=error@7,listener.publish-sent=exit@713,lease.renewed=sleep:6s@4
//
// is "at its seventh passage the commit's reply is lost, …". The actions:
//
//	exit       the process ends as by kill -9: no deferred function runs, nothing is flushed
//	error      the call returns an error that wraps [ErrInjected]; only where Table says that it can
//	sleep:d    the goroutine does nothing for d, longer than a lease for example; the others go on
//
// RELAY_FAILPOINT_HITS names a directory. A point that strikes leaves a file there, named as it was armed, before it
// does anything; one that has such a file strikes no more, so that the process which takes the place of one that ended
// lives on. Of several processes with the same directory one is struck. The first passage of each point leaves a file,
// too, named as the point: whoever reads the directory knows what was armed and never reached.
package failpoint

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

// The variables of the environment.
const (
	Variable     = "RELAY_FAILPOINTS"
	HitsVariable = "RELAY_FAILPOINT_HITS"
)

// ErrInjected is what the action error returns, wrapped.
var ErrInjected = errors.New("injected by a failpoint")

// Point is the name of a place.
type Point string

// Action is what happens at a point.
type Action string

// The actions.
const (
	Exit Action = "exit"
	Fail Action = "error"
	Wait Action = "sleep"
)

// Armed is a point that strikes once.
type Armed struct {
	Point   Point
	Action  Action
	For     time.Duration // of Wait
	Passage uint64        // at which it strikes, counted from 1 in each process
}

// String is the form of [Variable]; the file of its hit has that name.
func (a Armed) String() string {
	action := string(a.Action)
	if a.Action == Wait {
		action += ":" + a.For.String()
	}

	return fmt.Sprintf("%s=%s@%d", a.Point, action, a.Passage)
}

// List is the value of [Variable] for several.
func List(armed []Armed) string {
	parts := make([]string, len(armed))
	for i, a := range armed {
		parts[i] = a.String()
	}

	return strings.Join(parts, ",")
}

// Parse reads the value of [Variable]. It refuses what no point of Table can do.
func Parse(value string) ([]Armed, error) {
	var armed []Armed

	for part := range strings.SplitSeq(value, ",") {
		if part = strings.TrimSpace(part); part == "" {
			continue
		}

		a, err := parse(part)
		if err != nil {
			return nil, fmt.Errorf("%s: %q: %w", Variable, part, err)
		}

		armed = append(armed, a)
	}

	return armed, nil
}

func parse(text string) (a Armed, err error) {
	name, rest, ok := strings.Cut(text, "=")
	action, passage, counted := strings.Cut(rest, "@")

	if !ok || !counted {
		return Armed{}, errors.New("must be name=action@passage")
	}

	a.Point = Point(name)
	if a.Passage, err = strconv.ParseUint(passage, 10, 64); err != nil || a.Passage == 0 {
		return Armed{}, errors.New("a passage is a number from 1 on")
	}

	action, duration, _ := strings.Cut(action, ":")

	switch a.Action = Action(action); a.Action {
	case Exit, Fail:
	case Wait:
		if a.For, err = time.ParseDuration(duration); err != nil || a.For <= 0 {
			return Armed{}, errors.New("must be sleep:duration")
		}
	default:
		return Armed{}, errors.New("the actions are exit, error and sleep:duration")
	}

	table := Table()
	at := slices.IndexFunc(table, func(p Place) bool { return p.Point == a.Point })

	switch {
	case at < 0:
		return Armed{}, errors.New("there is no such point")
	case a.Action == Fail && !table[at].Errors:
		return Armed{}, errors.New("nothing can be returned at this point")
	default:
		return a, nil
	}
}

package tally

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"
)

// Departed is an instance that was taken for gone and had not said that it would go. In a sample none has a successor, and
// none has stopped.
type Departed struct {
	Instance
	Role       Role
	ReportTime time.Time // by its own clock
	Arrived    time.Time // by ours
	Active     bool      // a listener that was the active one
	Partitions []int     // that it owned
	Stopped    bool      // in order: it is nobody's concern, but may have taken the place of one that is
}

// Depart is what remains of a listener.
func (l *Listener) Depart() Departed {
	return Departed{Instance: l.Instance, Role: RoleListener, ReportTime: l.ReportTime, Arrived: l.Arrived, Active: l.Term > 0}
}

// Depart is what remains of a processor.
func (p *Processor) Depart() Departed {
	return Departed{Instance: p.Instance, Role: RoleProcessor, ReportTime: p.ReportTime, Arrived: p.Arrived, Partitions: p.Owned()}
}

// mostNoted is how many departed instances are named in the notes; the lists name all.
const mostNoted = 3

// notes say what is worth knowing although nothing has to be done: who is gone, the latest first, and who does its work.
func (s *Stats) notes() []string {
	departed := slices.SortedStableFunc(slices.Values(s.Departed), func(a, b Departed) int { return b.Arrived.Compare(a.Arrived) })

	var notes []string

	for i := range departed {
		if i == mostNoted {
			return append(notes, fmt.Sprintf("%d more instances are gone; relayctl instances lists them", len(departed)-mostNoted))
		}

		d := &departed[i]
		notes = append(notes, d.naming(d.Role)+" is gone: it "+s.since(d))
	}

	return notes
}

// since says since when a departed instance has said nothing, and what became of its work. Departed are of the last hour,
// so the time of day is enough.
func (s *Stats) since(d *Departed) string {
	text := "has said nothing since " + d.Arrived.UTC().Format("15:04:05") + " UTC"

	switch {
	case d.Role == RoleListener && d.Active:
		return text + "; " + s.successor()
	case d.Role == RoleListener:
		return text + "; it was not the active one"
	case len(d.Partitions) == 0:
		return text + "; it owned no partition"
	default:
		return text + "; of its partitions, " + s.ownersOf(d.Partitions)
	}
}

// successor is who captures instead of the listener that did.
func (s *Stats) successor() string {
	if active := activeListener(s.Listeners); active != nil && active.State == streaming {
		return active.naming(RoleListener) + " captures in its place"
	}

	return "nobody captures in its place yet"
}

// mostOwners is how many new owners are named one by one.
const mostOwners = 3

// ownersOf says who owns these partitions now.
func (s *Stats) ownersOf(numbers []int) string {
	owned := make(map[string][]int) // by instance id

	for _, n := range numbers {
		if n < len(s.Partitions) {
			owned[s.Partitions[n].Owner] = append(owned[s.Partitions[n].Owner], n)
		}
	}

	ids := make([]string, 0, len(owned))
	for id := range owned {
		ids = append(ids, id)
	}

	slices.SortFunc(ids, func(a, b string) int { return cmp.Compare(owned[a][0], owned[b][0]) })

	var (
		parts  []string
		others []int
	)

	for _, id := range ids {
		switch {
		case id == "":
			parts = append(parts, ranges(owned[id])+" without an owner")
		case len(parts) == mostOwners:
			others = append(others, owned[id]...)
		default:
			parts = append(parts, ranges(owned[id])+" with "+s.processor(id))
		}
	}

	if len(others) > 0 {
		slices.Sort(others)
		parts = append(parts, ranges(others)+" with others")
	}

	return strings.Join(parts, ", ")
}

// processor names one of the sample's.
func (s *Stats) processor(id string) string {
	for i := range s.Processors {
		if p := &s.Processors[i]; p.ID == id {
			return fmt.Sprintf("process %d on %s", p.PID, p.Host)
		}
	}

	return id
}

package chaos

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
)

// Fault is one thing that goes wrong.
type Fault interface {
	// Strike breaks something and mends it again, as far as a person or a machine would. It returns an error where the
	// world cannot be had any more: then the run says nothing about the relay.
	Strike(ctx context.Context, s *Stage) (Hit, error)
	// String says what was drawn.
	String() string
}

// Hit is what a fault did.
type Hit struct {
	Times     int    // that it really struck; 0: it missed
	Victim    string // the service, server or link
	Detail    string
	LosesTail bool // messages are gone from the end of the stream
}

// Ending says what a class does to the flow.
type Ending int

// The endings.
const (
	Heals  Ending = iota // by itself
	MayEnd               // it heals, or ends in a state that says so and names the remedy
	Ends                 // it ends in such a state
)

// Class is a kind of fault.
type Class struct {
	Name   string
	Says   string // in one line
	Ending Ending
	// Rewrites tells that the target goes back to what it was.
	Rewrites bool
	// Disk tells that NATS has a disk for itself.
	Disk bool
	// Letters tells that changes fail: without such a class none may.
	Letters bool
	// Short tells that a run of a test has time for it.
	Short bool
	// Fits tells whether a plan leaves room for it; nil: every plan does.
	Fits func(p *Plan) bool
	// Lacks tries whether this machine can have it, and tells why not; nil: every machine can.
	Lacks func() error
	// Draw makes one fault of the class.
	Draw func(r *rand.Rand, p *Plan) Fault
}

// Classes are all there are. Failpoints are none of them: each run arms some beside its schedule.
func Classes() []Class {
	return []Class{
		killClass(), freezeClass(), networkClass(), slowTargetClass(), stormClass(), refusedClass(),
		fullClass(), tailClass(), writeErrorClass(), diskFullClass(), powerClass(), blockClass(), replicaClass(), targetBackClass(),
		crowdClass(), rollingClass(), clockClass(), pauseClass(), lettersClass(), historyClass(), goneClass(),
	}
}

// Available leaves out the classes that this machine cannot have, and says in a line each which they are, and why.
func Available(classes []Class) (have []Class, lacking []string) {
	for _, c := range classes {
		var err error
		if c.Lacks != nil {
			err = c.Lacks()
		}

		if err == nil {
			have = append(have, c)
		} else {
			lacking = append(lacking, fmt.Sprintf("NOT ON THIS MACHINE: %s: %v", c.Name, err))
		}
	}

	return have, lacking
}

// Select returns the classes of these names; all without any.
func Select(names []string) ([]Class, error) {
	all := Classes()
	if len(names) == 0 {
		return all, nil
	}

	var chosen []Class

	for _, name := range names {
		at := slices.IndexFunc(all, func(c Class) bool { return c.Name == name })
		if at < 0 {
			return nil, fmt.Errorf("there is no class %q of faults; there are %s", name, strings.Join(Names(all), ", "))
		}

		chosen = append(chosen, all[at])
	}

	return chosen, nil
}

// Names are those of classes.
func Names(classes []Class) []string {
	names := make([]string, len(classes))
	for i, c := range classes {
		names[i] = c.Name
	}

	return names
}

// Package preflight checks, before anything runs, what a flow stands on: its
// settings, both MongoDB deployments, NATS, and what an earlier run left there.
//
// relayctl doctor runs all checks and shows every finding at once; the services
// run their part at start. Each check has a code that never changes its
// meaning, looks with a deadline of its own, and names the remedy. Nothing here
// writes to the source. The target and NATS are written to only inside
// transactions that are aborted.
package preflight

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"
)

// Status is how a check ended.
type Status string

// The statuses. Skipped is a check whose precondition failed; Unknown one whose
// question nobody answered.
const (
	OK      Status = "ok"
	Warning Status = "warning"
	Failed  Status = "failed"
	Unknown Status = "could-not-tell"
	Skipped Status = "skipped"
)

// Kind says what a failed check means for the exit code of relayctl doctor. A higher
// one comes first: what a person has to change before what waiting may heal.
type Kind int

// The kinds.
const (
	NotFine     Kind = iota // exit code 1
	Unreachable             // exit code 3: a server is away
	Refused                 // exit code 2: the configuration cannot work
)

// Finding is one answer of a check. A check without anything to tell is one
// finding that is OK.
type Finding struct {
	Code   string `json:"code"`
	OK     bool   `json:"ok"`
	Status Status `json:"status"`
	What   string `json:"what"`             // what was looked at, or what was found
	Where  string `json:"where,omitempty"`  // server, namespace or variable; never with a secret
	Why    string `json:"why,omitempty"`    // why it matters, or why it could not be told
	Remedy string `json:"remedy,omitempty"` // empty when there is nothing to do

	kind Kind
}

// Check looks at one thing.
type Check struct {
	Code   string   `json:"code"`
	What   string   `json:"what"`            // "the source answers"
	Why    string   `json:"why"`             // what breaks without it
	Remedy string   `json:"remedy"`          // what to do, unless the finding knows better
	Needs  []string `json:"needs,omitempty"` // codes of checks that must not have failed

	after []string // codes of checks whose results are used if there are any
	run   func(ctx context.Context, w *World) []Finding
}

// Time that one check, and that a whole run, may take.
const (
	checkTimeout = 5 * time.Second
	runTimeout   = 14 * time.Second
)

// Run makes the checks, those that need nothing of each other at the same time,
// and returns their findings in the order of the checks. A check whose need was
// not met is skipped; a need that is not among the checks counts as met.
func Run(ctx context.Context, w *World, checks []Check) []Finding {
	ctx, cancel := context.WithTimeout(ctx, runTimeout)
	defer cancel()

	type outcome struct {
		done     chan struct{} // closed when findings are there
		findings []Finding
	}

	outcomes := make(map[string]*outcome, len(checks))
	for i := range checks {
		outcomes[checks[i].Code] = &outcome{done: make(chan struct{})}
	}

	for i := range checks {
		go func(c *Check, mine *outcome) {
			defer close(mine.done)

			for _, code := range c.Needs {
				needed, ok := outcomes[code]
				if !ok {
					continue
				}

				<-needed.done

				if unmet(needed.findings) {
					mine.findings = []Finding{c.finding(Skipped, c.What, "", "not looked at because of "+code, "")}

					return
				}
			}

			for _, code := range c.after {
				if earlier, ok := outcomes[code]; ok {
					<-earlier.done
				}
			}

			mine.findings = c.look(ctx, w)
		}(&checks[i], outcomes[checks[i].Code])
	}

	var all []Finding

	for i := range checks {
		<-outcomes[checks[i].Code].done
		all = append(all, outcomes[checks[i].Code].findings...)
	}

	return all
}

// look runs the check and fills in what its findings left out.
func (c *Check) look(ctx context.Context, w *World) []Finding {
	ctx, cancel := context.WithTimeout(ctx, checkTimeout)
	defer cancel()

	found := c.run(ctx, w)
	if len(found) == 0 {
		return []Finding{c.finding(OK, c.What, "", "", "")}
	}

	for i, f := range found {
		filled := c.finding(f.Status, f.What, f.Where, f.Why, f.Remedy)
		filled.kind = f.kind

		if filled.What == "" {
			filled.What = c.What
		}

		if f.Status == Warning || f.Status == Failed {
			if f.Why == "" {
				filled.Why = c.Why
			}

			if f.Remedy == "" {
				filled.Remedy = c.Remedy
			}
		}

		found[i] = filled
	}

	return found
}

func (c *Check) finding(status Status, what, where, why, remedy string) Finding {
	return Finding{Code: c.Code, OK: status == OK, Status: status, What: what, Where: where, Why: why, Remedy: remedy}
}

// unmet tells whether checks that need this one are pointless.
func unmet(findings []Finding) bool {
	for _, f := range findings {
		if f.Status == Failed || f.Status == Skipped {
			return true
		}
	}

	return false
}

// ExitCode is the answer as an exit code: 2 when the configuration cannot work,
// else 3 when a server is away, else 1 when a check failed, else 0. Warnings, and
// what could not be told, are no failures.
func ExitCode(findings []Finding) int {
	codes := [...]int{NotFine: 1, Unreachable: 3, Refused: 2}
	failed, worst := false, NotFine

	for _, f := range findings {
		if f.Status == Failed {
			failed, worst = true, max(worst, f.kind)
		}
	}

	if !failed {
		return 0
	}

	return codes[worst]
}

func warn(where, format string, args ...any) Finding {
	return Finding{Status: Warning, Where: where, What: fmt.Sprintf(format, args...)}
}

func fail(where, format string, args ...any) Finding {
	return Finding{Status: Failed, Where: where, What: fmt.Sprintf(format, args...)}
}

// unknown is a question that err left open.
func unknown(where, why string) Finding {
	return Finding{Status: Unknown, Where: where, Why: why}
}

func refused(f Finding) Finding     { f.kind = Refused; return f }
func unreachable(f Finding) Finding { f.kind = Unreachable; return f }

func (f Finding) remedy(text string) Finding { f.Remedy = text; return f }

func one(f Finding) []Finding { return []Finding{f} }

// reason is an error in one line.
func reason(err error) string {
	if errors.Is(err, context.DeadlineExceeded) {
		return "no answer in time"
	}

	// mongod tells the whole command that it refused, of which only the name helps.
	text, _, _ := strings.Cut(strings.Join(strings.Fields(err.Error()), " "), " to execute command {")

	return text
}

package tally

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// States of listeners and partitions, as their reports name them.
const (
	streaming   = "STREAMING"
	standby     = "STANDBY"
	historyLost = "HISTORY_LOST"
	failed      = "FAILED"
	applying    = "APPLYING"
	acquiring   = "ACQUIRING"
	draining    = "DRAINING"
	paused      = "PAUSED"

	waitingRewind = "WAITING_REWIND"
)

// finding is one thing that is not fine.
type finding struct {
	status   Status
	reason   string
	nextStep string
}

// judge decides the status: that of the worst finding, whose next step is the
// one to take.
//
//	DOWN      no usable stream; checkpoints of another stream; no listener or all
//	          of them FAILED or HISTORY_LOST; no processor, or all that report
//	          cannot take part; a FAILED partition: the changes of its documents
//	          wait for a person
//	UNKNOWN   NATS or the target cannot be asked, or does not say what is paused
//	DIVERGED  an event was not applied that the target misses: of a kind that
//	          cannot be, or a dead letter. The target differs until it is
//	          replayed or superseded; to discard it is to accept that. Or a gap
//	          was accepted behind which the target may differ. Nothing
//	          of this goes on by itself, so it is not DEGRADED
//	DEGRADED  whatever goes on by itself: a server that is waited for, partitions
//	          between two owners or without one while a processor can take part,
//	          an instance that says nothing and has not been taken for gone yet,
//	          parked events that are retried; a stream that has lost its end,
//	          until it is published again; a sum that does not add up; and a
//	          flow that a person has paused, which is told first
func (s *Stats) judge(in *Input) {
	var findings []finding

	findings = append(findings, s.judgePause(in)...)
	findings = append(findings, judgeStream(in)...)
	findings = append(findings, judgeListeners(in)...)
	findings = append(findings, judgeHistory(in)...)
	findings = append(findings, s.judgeProcessors(in)...)
	findings = append(findings, judgeSilent(in)...)
	findings = append(findings, judgeUnsupported(in)...)
	findings = append(findings, judgeGaps(in)...)
	findings = append(findings, s.judgeParked(in)...)

	for _, what := range in.Unknown {
		findings = append(findings, finding{
			status: Unknown, reason: what, nextStep: "bring the server back, or mend the way to it; the services wait and go on by themselves",
		})
	}

	if n := in.lost; n > 0 && in.Still {
		findings = append(findings, finding{
			status: Degraded, reason: fmt.Sprintf("the stream has lost its end: %d events that are applied are no longer in it", n),
			nextStep: "nothing, if it passes: the listener publishes them again; else look for a listener that does not go on",
		})
	}

	if s.AddsUp != nil && !*s.AddsUp {
		findings = append(findings, finding{
			status: Degraded, reason: "the numbers do not add up: " + s.Sum(),
			nextStep: "look for a stream that lost messages, or a target or stream that was restored from a backup",
		})
	}

	rank := func(f finding) int { return slices.Index(Statuses(), f.status) }
	slices.SortStableFunc(findings, func(a, b finding) int { return rank(b) - rank(a) })

	s.Status = OK

	for i, f := range findings {
		if i == 0 {
			s.Status, s.NextStep = f.status, f.nextStep
		}

		s.Reasons = append(s.Reasons, f.reason)
	}
}

func judgeStream(in *Input) []finding {
	if in.Problem != nil {
		return []finding{{Down, in.Problem.Reason, in.Problem.NextStep}}
	}

	if d := in.foreign; d != nil {
		if replaced(in) {
			return []finding{{
				Down, fmt.Sprintf("the stream was made anew behind an accepted gap, checkpoint %s has not moved to it yet", d.ID),
				"nothing, if it passes; else start a processor",
			}}
		}

		return []finding{{
			status: Down,
			reason: fmt.Sprintf("checkpoint %s belongs to stream id %s, the stream has %s: it was made anew", d.ID, d.StreamID, in.Stream.ID),
			nextStep: "restore the stream from its backup; or copy the data afresh: relayctl flow delete --yes, relayctl flow init --without-existing, " +
				"dump and restore",
		}}
	}

	return nil
}

// activeListener is the one of the latest term, else the one that streams, else
// any that does not merely stand by, else any.
func activeListener(listeners []Listener) *Listener {
	var active *Listener

	for i := range listeners {
		if l := &listeners[i]; active == nil || rankListener(l, active) > 0 {
			active = l
		}
	}

	return active
}

func rankListener(a, b *Listener) int {
	return cmp.Or(
		cmp.Compare(a.Term, b.Term),
		compareBool(a.State == streaming, b.State == streaming),
		compareBool(a.State != standby, b.State != standby),
	)
}

func compareBool(a, b bool) int {
	switch {
	case a == b:
		return 0
	case a:
		return 1
	default:
		return -1
	}
}

func isTerminal(state string) bool { return state == failed || state == historyLost }

func judgeListeners(in *Input) []finding {
	if in.Reports == nil {
		return nil
	}

	listeners := in.Reports.Listeners

	active := activeListener(listeners)
	if active == nil {
		return []finding{{Down, "no listener reports", "start a listener, or look at the log of the one that should run"}}
	}

	// As long as one can go on, the others are only worth a look.
	terminal := Down
	if slices.ContainsFunc(listeners, func(l Listener) bool { return !isTerminal(l.State) }) {
		terminal = Degraded
	}

	var findings []finding

	if !slices.ContainsFunc(listeners, func(l Listener) bool { return l.State != standby }) {
		return []finding{{
			Degraded, fmt.Sprintf("no listener is active, %d stand by: %s", len(listeners), active.Reason),
			"nothing, if it passes: one takes over within LEASE_TTL; look at its log otherwise",
		}}
	}

	for _, l := range listeners {
		switch {
		case l.Term > 0 && l.Term < active.Term:
			// Its last words: another one has taken over since.
		case isTerminal(l.State):
			findings = append(findings, finding{terminal, l.describe(), "do what the reason says, then restart the listener"})
		case l.State == streaming, l.State == standby && active.State == streaming:
		default:
			findings = append(findings, finding{Degraded, l.describe() + l.History.describe(), "nothing, if it passes; the listener goes on by itself"})
		}
	}

	return findings
}

func (l *Listener) describe() string {
	return withReason("listener on "+l.Host+" is "+l.State, l.Reason)
}

func withReason(what, reason string) string {
	if reason == "" {
		return what
	}

	return what + ": " + reason
}

func (s *Stats) judgeProcessors(in *Input) []finding {
	if in.Reports == nil {
		return nil
	}

	if len(in.Reports.Processors) == 0 {
		return []finding{{Down, "no processor reports", "start a processor, or look at the log of the one that should run"}}
	}

	var findings []finding

	for i := range in.Reports.Processors {
		if p := &in.Reports.Processors[i]; p.Reason != "" {
			findings = append(findings, finding{Degraded, withReason("processor on "+p.Host+" is not ready", p.Reason), "nothing, if it passes; look at its log otherwise"})
		}
	}

	// Those that can take part acquire what nobody owns.
	nobody := !slices.ContainsFunc(in.Reports.Processors, func(p Processor) bool { return p.Reason == "" })

	return append(findings, s.judgePartitions(nobody)...)
}

// judgePartitions says each reason once, with all the partitions it concerns.
// nobody: no processor can take part.
func (s *Stats) judgePartitions(nobody bool) []finding {
	type group struct{ state, reason string }

	var order []group

	numbers := make(map[group][]int)

	for _, p := range s.Partitions {
		g := group{p.State, p.Reason}

		switch {
		case p.Owner == "":
			g = group{reason: p.waitsFor()}
		case p.State == applying, p.Held && s.Pause != nil:
			continue
		}

		if _, known := numbers[g]; !known {
			order = append(order, g)
		}

		numbers[g] = append(numbers[g], p.Number)
	}

	findings := make([]finding, 0, len(order))
	for _, g := range order {
		findings = append(findings, s.judgePartition(g.state, g.reason, numbers[g], nobody))
	}

	return findings
}

// waitsFor says what keeps the next owner of a partition waiting, if there is
// one.
func (p *Partition) waitsFor() string {
	if p.Next == nil {
		return ""
	}

	return withReason("the next one is "+p.Next.State, p.Next.Reason)
}

// which begins a sentence about partitions.
func which(numbers []int) string {
	if len(numbers) > 1 {
		return "partitions " + ranges(numbers) + " are "
	}

	return "partition " + ranges(numbers) + " is "
}

func (s *Stats) judgePartition(state, reason string, numbers []int, nobody bool) finding {
	which := which(numbers)

	switch state {
	case "":
		f := finding{Degraded, withReason(which+"without an owner that reports", reason), "nothing, if it passes; start a processor otherwise"}
		if nobody && len(numbers) == len(s.Partitions) {
			f.status = Down
		}

		return f
	case draining:
		return finding{Degraded, which + "being handed over", "nothing, if it passes; the next owner takes over by itself"}
	case failed:
		return finding{Down, withReason(which+state, reason), "do what the reason says, then restart the processor"}
	default:
		return finding{Degraded, withReason(which+state, reason), "nothing, if it passes; the processor goes on by itself"}
	}
}

// ranges writes ascending numbers as 0-3, 7.
func ranges(numbers []int) string {
	var parts []string

	for i := 0; i < len(numbers); {
		j := i
		for j+1 < len(numbers) && numbers[j+1] == numbers[j]+1 {
			j++
		}

		part := strconv.Itoa(numbers[i])
		if j > i {
			part += "-" + strconv.Itoa(numbers[j])
		}

		parts = append(parts, part)
		i = j + 1
	}

	return strings.Join(parts, ", ")
}

// mostNamed is how many kinds of events are named one by one.
const mostNamed = 10

package main

import (
	"github.com/atlas-relay/atlas-relay/e2e/verify/live"
	relayv1 "github.com/atlas-relay/atlas-relay/proto/relay/v1"
)

// TwoWayProcesses says what runs where, so that it can be looked at and killed.
func (p *printer) TwoWayProcesses(t *twoWay) {
	for _, s := range t.sides() {
		p.Linef("\n  database %s  %s, written to by people; flow %s brings it to the other one", s.name, s.place.URI, s.flow)

		for _, service := range s.relay.Services() {
			p.Linef("    %-11s pid %d", service.Name, service.Process().PID())
		}
	}

	p.Linef("\n  seed        %d (DEMO_SEED)", t.seed)
	p.Linef("Kill any service with kill -9 <pid> while this runs: it is started again, and the outcome is the same.\n")
}

// TwoWayVerdict is the end of a run in which everything held.
func (p *printer) TwoWayVerdict(t *twoWay, c *live.Comparison, samples []*relayv1.Stats) {
	p.Linef("\na and b are equal: %d documents in %d collections, %.1f MB compared byte by byte", c.Documents, c.Collections, float64(c.Bytes)/1e6)

	for i, s := range t.sides() {
		people, sample := s.traffic.Journal().Changes(), samples[i]
		p.Linef("flow %s: total %d = processed %d + failed %d + skipped %d + pending %d", s.flow, sample.GetTotalChanges(),
			sample.GetProcessedChanges(), sample.GetFailedChanges(), sample.GetSkippedChanges(), sample.GetPendingChanges())
		p.Linef("  %s had %d writes of people, all brought over, and %d of the other flow, all skipped (and %d that end the recording)",
			s.name, people, sample.GetSkippedChanges()-live.EndEvents, live.EndEvents)
	}

	p.Linef("\nNo change came back to where it was made, and the version of every document only grew on both sides.")
}

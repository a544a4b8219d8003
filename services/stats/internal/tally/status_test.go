package tally_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/atlas-relay/atlas-relay/pkg/checkpoint"
	"github.com/atlas-relay/atlas-relay/pkg/event"
	"github.com/atlas-relay/atlas-relay/pkg/gap"
	"github.com/atlas-relay/atlas-relay/pkg/pause"
	"github.com/atlas-relay/atlas-relay/services/stats/internal/tally"
)

// Each case breaks the healthy flow in one way and names what must be said.
// The table is the definition of the states.
func TestStatus(t *testing.T) {
	t.Parallel()

	for name, test := range map[string]struct {
		breakIt func(*tally.Input)
		status  tally.Status
		reason  string // part of the first one
	}{
		"no stream": {func(in *tally.Input) {
			in.Stream, in.Problem = nil, &tally.Problem{Reason: "there is no stream CDC_f", NextStep: "relayctl flow init"}
		}, tally.Down, "there is no stream CDC_f"},
		"checkpoints of another stream": {func(in *tally.Input) {
			d := in.Checkpoints[1]
			d.StreamID = "fedcba9876543210"
			in.Checkpoints[1] = d
		}, tally.Down, "checkpoint f/01 belongs to stream id fedcba9876543210"},
		"no listener":             {func(in *tally.Input) { in.Reports.Listeners = nil }, tally.Down, "no listener reports"},
		"listener failed":         {listener("FAILED", "wrong password"), tally.Down, "listener on h1 is FAILED: wrong password"},
		"history lost":            {listener("HISTORY_LOST", "oplog too short"), tally.Down, "HISTORY_LOST"},
		"listener waits for NATS": {listener("WAITING", "stream is full"), tally.Degraded, "listener on h1 is WAITING: stream is full"},
		"source away":             {listener("STALLED", "no primary"), tally.Degraded, "STALLED"},
		"listener starts":         {listener("STARTING", ""), tally.Degraded, "listener on h1 is STARTING"},
		"only a standby":          {listener("STANDBY", "x is active"), tally.Degraded, "no listener is active, 1 stand by: x is active"},
		"a standby beside it": {func(in *tally.Input) {
			in.Reports.Listeners = append(in.Reports.Listeners, tally.Listener{State: "STANDBY"})
		}, tally.OK, ""},
		"last words of a listener that was replaced": {func(in *tally.Input) {
			in.Reports.Listeners[0].Term = 7
			in.Reports.Listeners = append(in.Reports.Listeners, tally.Listener{State: "WAITING", Reason: "NATS is away", Term: 6})
		}, tally.OK, ""},
		"the active listener waits, beside a standby": {func(in *tally.Input) {
			in.Reports.Listeners[0].Term = 7
			listener("STALLED", "no primary")(in)
			in.Reports.Listeners = append(in.Reports.Listeners, tally.Listener{State: "STANDBY"})
		}, tally.Degraded, "listener on h1 is STALLED: no primary"},
		"one of two listeners failed": {func(in *tally.Input) {
			in.Reports.Listeners = append(in.Reports.Listeners, tally.Listener{Instance: tally.Instance{Host: "h9"}, State: "FAILED"})
		}, tally.Degraded, "listener on h9 is FAILED"},
		"no processor":          {func(in *tally.Input) { in.Reports.Processors = nil }, tally.Down, "no processor reports"},
		"processor not ready":   {func(in *tally.Input) { in.Reports.Processors[0].Reason = "target away" }, tally.Degraded, "processor on h2 is not ready: target away"},
		"no partition is owned": {func(in *tally.Input) { in.Reports.Processors[0].Partitions = nil }, tally.Degraded, "partitions 0-1 are without an owner"},
		"nobody can own one": {func(in *tally.Input) {
			in.Reports.Processors[0].Partitions, in.Reports.Processors[0].Reason = nil, "no bucket"
		}, tally.Down, "partitions 0-1 are without an owner"},
		"one more processor than partitions": {func(in *tally.Input) {
			in.Reports.Processors = append(in.Reports.Processors, tally.Processor{Instance: tally.Instance{ID: "q", Host: "h3"}})
		}, tally.OK, ""},
		"one of two cannot take part": {func(in *tally.Input) {
			in.Reports.Processors = append(in.Reports.Processors, tally.Processor{Instance: tally.Instance{ID: "q", Host: "h3"}, Reason: "no bucket"})
		}, tally.Degraded, "processor on h3 is not ready: no bucket"},
		"a processor was killed": {func(in *tally.Input) {
			in.Reports.Processors = append(in.Reports.Processors, tally.Processor{Instance: tally.Instance{ID: "q", Host: "h3", PID: 7, Silent: 8 * time.Second}})
		}, tally.Degraded, "processor on h3 (process 7) has said nothing for 8s"},
		"a standby listener froze": {func(in *tally.Input) {
			in.Reports.Listeners = append(in.Reports.Listeners, tally.Listener{Instance: tally.Instance{ID: "m", Host: "h3", PID: 7, Silent: 14 * time.Second}, State: "STANDBY"})
		}, tally.Degraded, "listener on h3 (process 7) has said nothing for 14s"},
		"an instance whose lease ends sooner": {func(in *tally.Input) {
			in.Reports.Processors = append(in.Reports.Processors, tally.Processor{Instance: tally.Instance{ID: "q", Host: "h3", PID: 7, Silent: 3 * time.Second, LeaseTTL: 2 * time.Second}})
		}, tally.Degraded, "processor on h3 (process 7) has said nothing for 3s"},
		"a standby whose lease would end sooner": {func(in *tally.Input) {
			in.Reports.Listeners = append(in.Reports.Listeners, tally.Listener{Instance: tally.Instance{ID: "m", Host: "h3", PID: 7, Silent: 3 * time.Second, LeaseTTL: 2 * time.Second}, State: "STANDBY"})
		}, tally.Degraded, "listener on h3 (process 7) has said nothing for 3s"},
		"an instance whose lease has not ended": {func(in *tally.Input) {
			in.Reports.Processors[0].Silent, in.Reports.Processors[0].LeaseTTL = 4*time.Second, 5*time.Second
		}, tally.OK, ""},
		"an instance whose lease is about to end": {func(in *tally.Input) {
			in.Reports.Processors[0].Silent, in.Reports.Processors[0].LeaseTTL = 4100*time.Millisecond, 5*time.Second
		}, tally.Degraded, "has said nothing for 4s"},
		"a lease of an hour is not waited for": {func(in *tally.Input) {
			in.Reports.Processors[0].Silent, in.Reports.Processors[0].LeaseTTL = 8*time.Second, time.Hour
		}, tally.Degraded, "has said nothing for 8s"},
		"a processor reports late": {func(in *tally.Input) { in.Reports.Processors[0].Silent = 6 * time.Second }, tally.OK, ""},
		"a processor was killed and restarted": {func(in *tally.Input) {
			in.Reports.Processors[0].Start = noon()
			in.Reports.Processors = append(in.Reports.Processors,
				tally.Processor{Instance: tally.Instance{ID: "q", Host: "h2", Silent: 8 * time.Second}, ReportTime: noon().Add(-8 * time.Second)})
		}, tally.OK, ""},
		"a processor was killed, and another has begun there": {func(in *tally.Input) {
			in.Reports.Processors[0].Host, in.Reports.Processors[0].Start, in.Reports.Processors[0].ReportTime = "h3", noon(), noon()
			in.Reports.Processors[0].Partitions = in.Reports.Processors[0].Partitions[:1]
			in.Reports.Processors = append(in.Reports.Processors, killed("q", 3*time.Second, tally.Ownership{Partition: 1, State: "APPLYING", Epoch: 5}))
		}, tally.Degraded, "processor on h3 (process 7) has said nothing for 3s, and another has begun there since"},
		"what a killed one did is taken over": {func(in *tally.Input) {
			in.Reports.Processors[0].Host, in.Reports.Processors[0].Start, in.Reports.Processors[0].ReportTime = "h3", noon(), noon()
			in.Reports.Processors = append(in.Reports.Processors, killed("q", 3*time.Second, tally.Ownership{Partition: 1, State: "APPLYING", Epoch: 4}))
		}, tally.OK, ""},
		"a processor is late, and no other has begun there": {func(in *tally.Input) {
			in.Reports.Processors[0].Host = "h3"
			in.Reports.Processors[0].Partitions = in.Reports.Processors[0].Partitions[:1]
			in.Reports.Processors = append(in.Reports.Processors, killed("q", 3*time.Second, tally.Ownership{Partition: 1, State: "APPLYING", Epoch: 5}))
		}, tally.OK, ""},
		"of two on one host that are silent one was restarted": {func(in *tally.Input) {
			in.Reports.Processors[0].Host, in.Reports.Processors[0].Start, in.Reports.Processors[0].ReportTime = "h3", noon().Add(-8*time.Second), noon()
			frozen := killed("q", 10*time.Second)
			frozen.PID = 8
			in.Reports.Processors = append(in.Reports.Processors, frozen, killed("r", 9*time.Second))
		}, tally.Degraded, "processor on h3 (process 8) has said nothing for 10s"},
		"two on one host were killed and restarted": {func(in *tally.Input) {
			in.Reports.Processors[0].Host, in.Reports.Processors[0].Start, in.Reports.Processors[0].ReportTime = "h3", noon().Add(-7*time.Second), noon()
			restarted := killed("t", 0)
			restarted.Start = noon().Add(-6 * time.Second)
			in.Reports.Processors = append(in.Reports.Processors, killed("q", 9*time.Second), killed("r", 10*time.Second), restarted)
		}, tally.OK, ""},
		"another was added where one is frozen": {func(in *tally.Input) {
			in.Reports.Processors[0].Host, in.Reports.Processors[0].Start, in.Reports.Processors[0].ReportTime = "h3", noon().Add(-time.Second), noon()
			in.Reports.Processors[0].OpsAddr = ":8082"
			frozen := killed("q", 8*time.Second)
			frozen.OpsAddr = ":8083"
			in.Reports.Processors = append(in.Reports.Processors, frozen)
		}, tally.Degraded, "processor on h3 (process 7) has said nothing for 8s"},
		"the successor of a killed one was stopped": {func(in *tally.Input) {
			in.Reports.Processors = append(in.Reports.Processors, killed("q", 8*time.Second))
			in.Reports.Departed = []tally.Departed{{
				Instance: tally.Instance{ID: "r", Host: "h3", Start: noon().Add(-7 * time.Second)}, Role: tally.RoleProcessor, ReportTime: noon().Add(-time.Second), Stopped: true,
			}}
		}, tally.OK, ""},
		"an instance is gone, and others do its work": {func(in *tally.Input) {
			in.Reports.Departed = []tally.Departed{{Instance: tally.Instance{ID: "q", Host: "h3", Silent: time.Minute}, Role: tally.RoleProcessor, Partitions: []int{0}}}
		}, tally.OK, ""},
		"a listener began where a processor was killed": {func(in *tally.Input) {
			in.Reports.Listeners[0].Host, in.Reports.Listeners[0].Start = "h3", noon()
			in.Reports.Processors = append(in.Reports.Processors, tally.Processor{Instance: tally.Instance{ID: "q", Host: "h3", Silent: 8 * time.Second}})
		}, tally.Degraded, "processor on h3 (process 0) has said nothing"},
		"partition drains": {partition(0, "DRAINING", ""), tally.Degraded, "partition 0 is being handed over"},
		"between two owners": {func(in *tally.Input) {
			in.Reports.Processors[0].Partitions = []tally.Ownership{
				{Partition: 0, State: "ACQUIRING", Reason: "its lease is held by x"}, {Partition: 1, State: "ACQUIRING", Reason: "its lease is held by x"},
			}
		}, tally.Degraded, "partitions 0-1 are without an owner that reports: the next one is ACQUIRING: its lease is held by x"},
		"another waits for one that is applied": {func(in *tally.Input) {
			in.Reports.Processors = append(in.Reports.Processors, tally.Processor{
				Instance: tally.Instance{ID: "q", Host: "h3"}, Partitions: []tally.Ownership{{Partition: 0, State: "ACQUIRING"}},
			})
		}, tally.OK, ""},
		"one partition is owned": {func(in *tally.Input) { in.Reports.Processors[0].Partitions = in.Reports.Processors[0].Partitions[:1] }, tally.Degraded, "partition 1 is without an owner"},
		"owner is fenced":        {func(in *tally.Input) { in.Reports.Processors[0].Partitions[0].Epoch = 4 }, tally.Degraded, "partition 0 is without an owner"},
		"partition failed":       {partition(0, "FAILED", "cannot decode"), tally.Down, "partition 0 is FAILED: cannot decode"},
		"partition paused":       {partition(1, "PAUSED", "no primary"), tally.Degraded, "partition 1 is PAUSED: no primary"},
		"partition waits":        {partition(1, "WAITING_REWIND", "hole"), tally.Degraded, "WAITING_REWIND"},
		"flow paused": {func(in *tally.Input) {
			in.Paused.Pause = paused()
			held(in, 0, 1)
		}, tally.Degraded, "paused by ann since 2026-11-29T12:00:00Z: upgrade"},
		"flow paused just now": {func(in *tally.Input) {
			in.Paused.Pause = paused()
			held(in, 0)
		}, tally.Degraded, "paused by ann since 2026-11-29T12:00:00Z: upgrade; not taken up yet by partitions 1"},
		"flow resumed just now": {func(in *tally.Input) { held(in, 0, 1) }, tally.Degraded, "partitions 0-1 are PAUSED: paused by ann"},
		"flow paused and target away": {func(in *tally.Input) {
			in.Paused.Pause = paused()
			held(in, 0)
			partition(1, "PAUSED", "no primary")(in)
		}, tally.Degraded, "paused by ann since 2026-11-29T12:00:00Z: upgrade"},
		"flow paused without a processor": {func(in *tally.Input) {
			in.Paused.Pause, in.Reports.Processors = paused(), nil
		}, tally.Down, "no processor reports"},
		"namespace paused": {func(in *tally.Input) {
			in.Paused.Namespaces = []pause.Namespace{{DB: "shop", Coll: "orders", Pause: *paused()}, {DB: "stock", Pause: *paused()}}
		}, tally.Degraded, "shop.orders is paused by ann since 2026-11-29T12:00:00Z: upgrade"},
		"changes of a paused namespace": {func(in *tally.Input) {
			d := in.Checkpoints[1]
			d.Parked, d.Counters.Processed = 2, 0
			in.Checkpoints[1] = d
			in.Parked, in.Paused.Namespaces = new(tally.Parked), []pause.Namespace{{DB: "stock", Pause: *paused()}}
		}, tally.Degraded, "stock is paused by ann"},
		"diverging event": {func(in *tally.Input) {
			in.Unsupported = []checkpoint.UnsupportedDocument{{DB: "shop", Coll: "old", Operation: "drop", Events: 2, Diverges: true}}
		}, tally.Diverged, "drop on shop.old was not applied (events: 2)"},
		"harmless unsupported event": {func(in *tally.Input) {
			in.Unsupported = []checkpoint.UnsupportedDocument{{DB: "shop", Coll: "old", Operation: "modify", Events: 2}}
		}, tally.OK, ""},
		"accepted unsupported event, and one that came later": {func(in *tally.Input) {
			in.Unsupported = []checkpoint.UnsupportedDocument{
				{DB: "shop", Coll: "old", Operation: "drop", Events: 2, AcceptedEvents: 2, Diverges: true},
				{DB: "shop", Coll: "new", Operation: "drop", Events: 3, AcceptedEvents: 2, Diverges: true},
			}
		}, tally.Diverged, "drop on shop.new was not applied (events: 1)"},
		"accepted unsupported event": {func(in *tally.Input) {
			in.Unsupported = []checkpoint.UnsupportedDocument{{DB: "shop", Coll: "old", Operation: "drop", Events: 2, AcceptedEvents: 2, Diverges: true}}
		}, tally.OK, ""},
		"gap": {func(in *tally.Input) {
			in.Gaps = []gap.Document{{ID: "f/s/7", State: gap.Closed, Requested: gap.Acceptance{By: "ann@host", Reason: "short oplog"}}}
		}, tally.Diverged, "not captured (gap f/s/7, accepted by ann@host: short oplog)"},
		"hole that was passed over": {func(in *tally.Input) {
			in.Gaps = []gap.Document{{State: gap.Closed, Generation: 3, Lost: 12}}
		}, tally.Diverged, "a hole, and 12 events at least of it were passed over"},
		"gap that is recorded and not finished": {func(in *tally.Input) { in.Gaps = []gap.Document{{State: gap.Open}} }, tally.Diverged, "not captured"},
		"gap whose divergence is accepted": {func(in *tally.Input) {
			in.Gaps = []gap.Document{{State: gap.Closed, Divergence: &gap.Acceptance{}}}
		}, tally.OK, ""},
		"gap that the flow went on without": {func(in *tally.Input) { in.Gaps = []gap.Document{{State: gap.Withdrawn}} }, tally.OK, ""},
		"parked and retried": {func(in *tally.Input) {
			d := in.Checkpoints[1]
			d.Parked, d.Counters.Processed = 2, 0
			in.Checkpoints[1] = d
			in.Parked = &tally.Parked{OldestWaiting: &tally.SetAside{Namespace: event.Namespace{DB: "shop", Coll: "orders"}, Code: 121, Error: "refused"}}
		}, tally.Degraded, "changes set aside and retried: 2; the oldest is in shop.orders: refused (code 121)"},
		"parked and retried, with a text that has the code": {func(in *tally.Input) {
			d := in.Checkpoints[1]
			d.Parked, d.Counters.Processed = 2, 0
			in.Checkpoints[1] = d
			in.Parked = &tally.Parked{OldestWaiting: &tally.SetAside{Namespace: event.Namespace{DB: "shop", Coll: "orders"}, Code: 121, Error: "DocumentValidationFailure (121)"}}
		}, tally.Degraded, "changes set aside and retried: 2; the oldest is in shop.orders: DocumentValidationFailure (121)"},
		"dead letter": {func(in *tally.Input) {
			in.Parked = &tally.Parked{Dead: 3, OldestDead: &tally.SetAside{Namespace: event.Namespace{DB: "shop", Coll: "orders"}}}
		}, tally.Diverged, "dead letters: 3; the oldest is in shop.orders"},
		"dead letters not counted to the end": {func(in *tally.Input) {
			in.Parked = &tally.Parked{Dead: 10_000, More: true}
		}, tally.Diverged, "dead letters: 10000 or more"},
		"nothing parked": {func(in *tally.Input) { in.Parked = new(tally.Parked) }, tally.OK, ""},
		"target away": {func(in *tally.Input) {
			in.Checkpoints, in.Unknown = nil, []string{"target: no primary"}
		}, tally.Unknown, "target: no primary"},
		"target away and listener failed": {func(in *tally.Input) {
			in.Checkpoints, in.Unknown = nil, []string{"target: no primary"}
			listener("FAILED", "x")(in)
		}, tally.Down, "listener on h1 is FAILED"},
		"numbers do not add up": {func(in *tally.Input) { in.Stream.Total++ }, tally.Degraded, "do not add up: total 11, processed 6 + failed 0 + skipped 4 + pending 0"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()

			in := healthy()
			test.breakIt(in)
			s := tally.Count(in)

			require.Equal(t, test.status, s.Status, "%v", s.Reasons)

			if test.status == tally.OK {
				require.Empty(t, s.Reasons)
				return
			}

			require.Contains(t, s.Reasons[0], test.reason)
			require.NotContains(t, s.Reasons[0], "(121) (code 121)", "a code is told once")
			require.NotEmpty(t, s.NextStep)
		})
	}
}

func paused() *pause.Pause {
	return &pause.Pause{By: "ann", Reason: "upgrade", Since: time.Date(2026, 11, 29, 12, 0, 0, 0, time.UTC)}
}

// held has partitions apply nothing because somebody paused the flow.
func held(in *tally.Input, numbers ...int) {
	for _, number := range numbers {
		partition(number, "PAUSED", paused().String())(in)
		in.Reports.Processors[0].Partitions[number].Held = true
	}
}

// TestPauseIsSaidOnce: with the step that ends it, whatever else is waited for.
func TestPauseIsSaidOnce(t *testing.T) {
	t.Parallel()

	in := healthy()
	in.Paused.Pause = paused()
	held(in, 0, 1)

	s := tally.Count(in)
	require.Len(t, s.Reasons, 1)
	require.Contains(t, s.NextStep, "relayctl flow resume")
	require.Equal(t, in.Paused.Pause, s.Pause)

	listener("STALLED", "no primary")(in)

	s = tally.Count(in)
	require.Len(t, s.Reasons, 2)
	require.Contains(t, s.NextStep, "relayctl flow resume")
}

func listener(state, reason string) func(*tally.Input) {
	return func(in *tally.Input) { in.Reports.Listeners[0].State, in.Reports.Listeners[0].Reason = state, reason }
}

func partition(number int, state, reason string) func(*tally.Input) {
	return func(in *tally.Input) {
		p := &in.Reports.Processors[0].Partitions[number]
		p.State, p.Reason = state, reason
	}
}

// killed is a processor on h3 that said something last so long ago.
func killed(id string, ago time.Duration, owned ...tally.Ownership) tally.Processor {
	return tally.Processor{
		Instance:   tally.Instance{ID: id, Host: "h3", PID: 7, Silent: ago, LeaseTTL: 5 * time.Second},
		ReportTime: noon().Add(-ago), Partitions: owned,
	}
}

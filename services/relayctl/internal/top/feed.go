package top

import (
	"context"
	"sync"
	"time"

	tea "charm.land/bubbletea/v2"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/atlas-relay/atlas-relay/pkg/retry"
	relayv1 "github.com/atlas-relay/atlas-relay/proto/relay/v1"
)

const (
	groupsEvery = 5 * time.Second
	// askTimeout bounds one question; samples of a watch have no bound, the screen says when they stay away.
	askTimeout = 8 * time.Second
)

// Feed asks the stats service for what the Model shows.
type Feed struct {
	stats   relayv1.StatsServiceClient
	letters relayv1.DeadLetterServiceClient
	explain func(error) error // turns a status into words
	chosen  chan string       // by Choose; holds the last choice
}

// NewFeed returns a feed that has not begun.
func NewFeed(conn grpc.ClientConnInterface, explain func(error) error) *Feed {
	return &Feed{
		stats: relayv1.NewStatsServiceClient(conn), letters: relayv1.NewDeadLetterServiceClient(conn),
		explain: explain, chosen: make(chan string, 1),
	}
}

// Choose follows another flow from now on. It does not block.
func (f *Feed) Choose(flow string) {
	select {
	case <-f.chosen: // a choice that was not taken up yet
	default:
	}

	f.chosen <- flow
}

// Run sends messages until ctx ends. The service may go away and come back.
func (f *Feed) Run(ctx context.Context, flow string, send func(tea.Msg)) {
	for ctx.Err() == nil {
		flow = f.follow(ctx, flow, send)
	}
}

// follow one flow until another one is chosen.
func (f *Feed) follow(ctx context.Context, flow string, send func(tea.Msg)) (chosen string) {
	ctx, cancel := context.WithCancel(ctx)

	var tasks sync.WaitGroup

	defer tasks.Wait()
	defer cancel()

	tasks.Go(func() { f.watch(ctx, flow, send) })
	tasks.Go(func() { f.watchGroups(ctx, flow, send) })

	select {
	case chosen = <-f.chosen:
		return chosen
	case <-ctx.Done():
		return flow
	}
}

// watch begins again for as long as ctx lasts.
func (f *Feed) watch(ctx context.Context, flow string, send func(tea.Msg)) {
	policy := retry.Policy{Initial: 250 * time.Millisecond, Max: 3 * time.Second}

	for ctx.Err() == nil {
		// A watch that had begun is no failure: the waits begin anew.
		_ = retry.Do(ctx, policy, func(ctx context.Context) error {
			samples, err := f.watchOnce(ctx, flow, send)
			if ctx.Err() == nil {
				send(Trouble{Flow: flow, Err: f.explain(err)})
			}

			if samples > 0 {
				return nil
			}

			return err
		})

		retry.Pause(ctx, policy.Initial)
	}
}

// watchOnce fills the gap since the last watch, and then sends samples. It always returns an error.
func (f *Feed) watchOnce(ctx context.Context, flow string, send func(tea.Msg)) (samples int, err error) {
	if err := f.begin(ctx, flow, send); err != nil {
		return 0, err
	}

	stream, err := f.stats.WatchStats(ctx, &relayv1.WatchStatsRequest{Flow: flow})
	if err != nil {
		return 0, err
	}

	for {
		response, err := stream.Recv()
		if err != nil {
			return samples, err
		}

		samples++

		send(Sample{Flow: flow, Stats: response.GetStats(), At: time.Now()})
	}
}

func (f *Feed) begin(ctx context.Context, flow string, send func(tea.Msg)) error {
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()

	flows, err := f.stats.ListFlows(ctx, new(relayv1.ListFlowsRequest))
	if err != nil {
		return err
	}

	names := make(Flows, 0, len(flows.GetFlows()))
	for _, flow := range flows.GetFlows() {
		names = append(names, flow.GetName())
	}

	send(names)

	timeline, err := f.stats.GetTimeline(ctx, &relayv1.GetTimelineRequest{Flow: flow})
	if status.Code(err) == codes.Unimplemented {
		return nil // an earlier version has none; the charts begin empty
	}

	if err != nil {
		return err
	}

	send(Timeline{Flow: flow, Points: timeline.GetPoints()})

	return nil
}

func (f *Feed) watchGroups(ctx context.Context, flow string, send func(tea.Msg)) {
	for ctx.Err() == nil {
		groups := f.askGroups(ctx, flow)
		if ctx.Err() == nil {
			send(groups)
		}

		retry.Pause(ctx, groupsEvery)
	}
}

func (f *Feed) askGroups(ctx context.Context, flow string) Groups {
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()

	found, err := f.letters.ListDeadLetterGroups(ctx, &relayv1.ListDeadLetterGroupsRequest{Flow: flow})
	if err != nil {
		return Groups{Flow: flow, Err: f.explain(err)}
	}

	return Groups{Flow: flow, Groups: found.GetGroups(), Incomplete: found.GetIncomplete()}
}

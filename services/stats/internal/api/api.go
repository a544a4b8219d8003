// Package api answers StatsService, DeadLetterService and FlowService over gRPC:
// samples and records out, domain errors as codes with a remedy.
package api

import (
	"context"
	"errors"
	"slices"
	"strings"
	"time"

	"google.golang.org/grpc"

	relayv1 "github.com/atlas-relay/atlas-relay/proto/relay/v1"
	"github.com/atlas-relay/atlas-relay/services/stats/internal/deadletter"
	"github.com/atlas-relay/atlas-relay/services/stats/internal/tally"
	"github.com/atlas-relay/atlas-relay/services/stats/internal/timeline"
)

const (
	defaultInterval = time.Second
	minInterval     = 200 * time.Millisecond
)

// Flow is a flow that can be sampled.
type Flow interface {
	Name() string
	Sample(ctx context.Context) (tally.Stats, error)
}

// service implements relayv1.StatsServiceServer.
type service struct {
	relayv1.UnimplementedStatsServiceServer

	flows     []Flow
	letters   []*deadletter.Letters
	timelines map[string]*timeline.Timeline // by flow
	stopping  <-chan struct{}               // closed by the server when watches have to end
}

// GetStats implements relayv1.StatsServiceServer.
func (s *service) GetStats(ctx context.Context, request *relayv1.GetStatsRequest) (*relayv1.GetStatsResponse, error) {
	flow, err := s.find(request.GetFlow())
	if err != nil {
		return nil, toStatus(err)
	}

	stats, err := sample(ctx, flow)
	if err != nil {
		return nil, toStatus(err)
	}

	return &relayv1.GetStatsResponse{Stats: stats}, nil
}

// WatchStats implements relayv1.StatsServiceServer. While nobody can be asked
// it goes on sending samples that say so: a watch outlives an outage.
func (s *service) WatchStats(request *relayv1.WatchStatsRequest, stream grpc.ServerStreamingServer[relayv1.WatchStatsResponse]) error {
	flow, err := s.find(request.GetFlow())
	if err != nil {
		return toStatus(err)
	}

	interval := defaultInterval
	if request.GetInterval() != nil {
		interval = request.GetInterval().AsDuration()
	}

	if interval < minInterval {
		return toStatus(&intervalError{interval})
	}

	for {
		stats, err := sample(stream.Context(), flow)
		if err != nil && !errors.Is(err, errNobodyAnswers) {
			return toStatus(err)
		}

		if err := stream.Send(&relayv1.WatchStatsResponse{Stats: stats}); err != nil {
			return err // a status already
		}

		timer := time.NewTimer(timeline.UntilBeat(time.Now(), interval))

		select {
		case <-timer.C:
			continue
		case <-stream.Context().Done():
			err = stream.Context().Err()
		case <-s.stopping:
			err = errStopping
		}

		timer.Stop()

		return toStatus(err)
	}
}

// sample returns the sample beside errNobodyAnswers, too.
func sample(ctx context.Context, flow Flow) (*relayv1.Stats, error) {
	stats, err := flow.Sample(ctx)
	if err != nil {
		return nil, err
	}

	encoded := encode(&stats)
	if stats.NobodyAnswers() {
		return encoded, &nobodyError{reasons: stats.Unknown}
	}

	return encoded, nil
}

// find returns the flow of this name.
func (s *service) find(name string) (Flow, error) { return findFlow(s.flows, Flow.Name, name) }

// findFlow returns the one of this name; the empty name is that of the only
// one.
func findFlow[F any](flows []F, nameOf func(F) string, name string) (found F, err error) {
	if name == "" && len(flows) == 1 {
		return flows[0], nil
	}

	names := make([]string, len(flows))
	for i, f := range flows {
		names[i] = nameOf(f)
	}

	if name == "" {
		return found, &flowError{reason: reasonFlowRequired, known: names}
	}

	if i := slices.Index(names, name); i >= 0 {
		return flows[i], nil
	}

	return found, &flowError{reason: reasonFlowNotFound, name: name, known: names}
}

func list(names []string) string { return strings.Join(names, ", ") }

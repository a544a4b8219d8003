package api

import (
	"context"
	"fmt"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	relayv1 "github.com/atlas-relay/atlas-relay/proto/relay/v1"
	"github.com/atlas-relay/atlas-relay/services/stats/internal/timeline"
)

// ListFlows implements relayv1.StatsServiceServer.
func (s *service) ListFlows(context.Context, *relayv1.ListFlowsRequest) (*relayv1.ListFlowsResponse, error) {
	response := new(relayv1.ListFlowsResponse)
	for _, flow := range s.flows {
		response.Flows = append(response.Flows, &relayv1.Flow{Name: flow.Name()})
	}

	return response, nil
}

// GetTimeline implements relayv1.StatsServiceServer.
func (s *service) GetTimeline(_ context.Context, request *relayv1.GetTimelineRequest) (*relayv1.GetTimelineResponse, error) {
	flow, err := s.find(request.GetFlow())
	if err != nil {
		return nil, toStatus(err)
	}

	step := timeline.Every
	if request.GetStep() != nil {
		step = request.GetStep().AsDuration()
	}

	if step < timeline.Every || step%time.Second != 0 {
		return nil, toStatus(&argumentError{"step", fmt.Sprintf("is %s, which is no whole number of seconds", step), "give 1s or more"})
	}

	var after time.Time

	if request.GetAfterTime() != nil {
		if !request.GetAfterTime().IsValid() {
			return nil, toStatus(&argumentError{"after_time", "is no time", "give a time of the years 1 to 9999"})
		}

		after = request.GetAfterTime().AsTime()
	}

	response := new(relayv1.GetTimelineResponse)

	line := s.timelines[flow.Name()]
	if line == nil {
		return response, nil
	}

	points := line.Since(after, step)
	for i := range points {
		response.Points = append(response.Points, encodePoint(&points[i]))
	}

	return response, nil
}

func encodePoint(p *timeline.Rated) *relayv1.TimelinePoint {
	return &relayv1.TimelinePoint{
		SampleTime:        timestamppb.New(p.Time),
		CapturedPerSecond: p.CapturedRate,
		SettledPerSecond:  p.SettledRate,
		PendingChanges:    p.Pending,
		DeadLetters:       p.DeadLetters,
		Lag:               encodeDuration(p.Lag),
		CaptureLag:        encodeDuration(p.CaptureLag),
		HistoryRemaining:  encodeDuration(p.HistoryRemaining),
	}
}

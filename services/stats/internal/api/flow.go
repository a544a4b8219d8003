package api

import (
	"context"
	"fmt"

	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/atlas-relay/atlas-relay/pkg/pause"
	relayv1 "github.com/atlas-relay/atlas-relay/proto/relay/v1"
	"github.com/atlas-relay/atlas-relay/services/stats/internal/access"
	"github.com/atlas-relay/atlas-relay/services/stats/internal/pausing"
)

// flowService implements relayv1.FlowServiceServer.
type flowService struct {
	relayv1.UnimplementedFlowServiceServer

	switches []*pausing.Switch
}

func (s *flowService) find(name string) (*pausing.Switch, error) {
	return findFlow(s.switches, (*pausing.Switch).Flow, name)
}

// GetFlow implements relayv1.FlowServiceServer.
func (s *flowService) GetFlow(ctx context.Context, request *relayv1.GetFlowRequest) (*relayv1.GetFlowResponse, error) {
	flow, err := s.find(request.GetFlow())
	if err != nil {
		return nil, toStatus(err)
	}

	d, err := flow.Get(ctx)
	if err != nil {
		return nil, toStatus(err)
	}

	return &relayv1.GetFlowResponse{Flow: encodeFlow(&d)}, nil
}

// PauseFlow implements relayv1.FlowServiceServer.
func (s *flowService) PauseFlow(ctx context.Context, request *relayv1.PauseFlowRequest) (*relayv1.PauseFlowResponse, error) {
	flow, who, err := s.asked(ctx, request)
	if err != nil {
		return nil, toStatus(err)
	}

	d, changed, err := flow.Pause(ctx, who, request.GetReason())
	if err != nil {
		return nil, toStatus(err)
	}

	return &relayv1.PauseFlowResponse{Flow: encodeFlow(&d), Changed: changed}, nil
}

// ResumeFlow implements relayv1.FlowServiceServer.
func (s *flowService) ResumeFlow(ctx context.Context, request *relayv1.ResumeFlowRequest) (*relayv1.ResumeFlowResponse, error) {
	flow, who, err := s.asked(ctx, request)
	if err != nil {
		return nil, toStatus(err)
	}

	changed, err := flow.Resume(ctx, who, request.GetReason())
	if err != nil {
		return nil, toStatus(err)
	}

	return &relayv1.ResumeFlowResponse{Flow: encodeFlow(&pause.Document{Flow: flow.Flow()}), Changed: changed}, nil
}

// asked is the flow that a change is asked of, and who asks.
func (s *flowService) asked(ctx context.Context, request asker) (flow *pausing.Switch, who string, err error) {
	if flow, err = s.find(request.GetFlow()); err != nil {
		return nil, "", err
	}

	who, err = decodeAsker(ctx, request)

	return flow, who, err
}

// asker is what all requests have that change something.
type asker interface {
	GetFlow() string
	GetRequestedBy() string
	GetReason() string
}

// decodeAsker returns who asks, for the record.
func decodeAsker(ctx context.Context, request asker) (who string, err error) {
	switch who := request.GetRequestedBy(); {
	case who == "":
		return "", &argumentError{"requested_by", "is empty", "say who asks: it is remembered in the record"}
	case len(who) > maxIdentity:
		return "", &argumentError{"requested_by", fmt.Sprintf("has more than %d bytes", maxIdentity), "shorten it"}
	case len(request.GetReason()) > maxReason:
		return "", &argumentError{"reason", fmt.Sprintf("has more than %d bytes", maxReason), "shorten it"}
	default:
		return describe(who, access.From(ctx)), nil
	}
}

func encodeFlow(d *pause.Document) *relayv1.Flow {
	state := relayv1.FlowState_FLOW_STATE_RUNNING
	if d.Pause != nil {
		state = relayv1.FlowState_FLOW_STATE_PAUSED
	}

	return &relayv1.Flow{Name: d.Flow, State: state, Pause: encodePause(d.Pause)}
}

func encodePause(p *pause.Pause) *relayv1.Pause {
	if p == nil {
		return nil
	}

	return &relayv1.Pause{By: text(p.By), Reason: text(p.Reason), Since: timestamppb.New(p.Since)}
}

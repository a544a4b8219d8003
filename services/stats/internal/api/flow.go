package api

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/atlas-relay/atlas-relay/pkg/event"
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

	var damaged *pause.DamagedError

	switch {
	case errors.As(err, &damaged):
		return &relayv1.GetFlowResponse{Flow: &relayv1.FlowControl{
			Name: flow.Flow(), StateUnknownBecause: text(damaged.Error() + "; " + damaged.Remedy()),
		}}, nil
	case err != nil:
		return nil, toStatus(err)
	default:
		return &relayv1.GetFlowResponse{Flow: encodeFlow(&d)}, nil
	}
}

// PauseFlow implements relayv1.FlowServiceServer.
func (s *flowService) PauseFlow(ctx context.Context, request *relayv1.PauseFlowRequest) (*relayv1.PauseFlowResponse, error) {
	d, changed, err := s.change(ctx, request, (*pausing.Switch).Pause)
	if err != nil {
		return nil, toStatus(err)
	}

	return &relayv1.PauseFlowResponse{Flow: encodeFlow(&d), Changed: changed}, nil
}

// ResumeFlow implements relayv1.FlowServiceServer.
func (s *flowService) ResumeFlow(ctx context.Context, request *relayv1.ResumeFlowRequest) (*relayv1.ResumeFlowResponse, error) {
	d, changed, err := s.change(ctx, request, (*pausing.Switch).Resume)
	if err != nil {
		return nil, toStatus(err)
	}

	return &relayv1.ResumeFlowResponse{Flow: encodeFlow(&d), Changed: changed}, nil
}

// pauseRequest is what both requests have.
type pauseRequest interface {
	asker
	GetNamespaces() []*relayv1.Namespace
}

func (s *flowService) change(ctx context.Context, request pauseRequest,
	do func(*pausing.Switch, context.Context, *pausing.Request) (pause.Document, bool, error),
) (d pause.Document, changed bool, err error) {
	flow, err := s.find(request.GetFlow())
	if err != nil {
		return pause.Document{}, false, err
	}

	r := &pausing.Request{Why: request.GetReason()}

	if r.Who, err = decodeAsker(ctx, request); err != nil {
		return pause.Document{}, false, err
	}

	if r.Namespaces, err = decodeNamespaces(request.GetNamespaces()); err != nil {
		return pause.Document{}, false, err
	}

	return do(flow, ctx, r)
}

func decodeNamespaces(list []*relayv1.Namespace) (namespaces []event.Namespace, err error) {
	if len(list) > pause.MaxNamespaces {
		return nil, &argumentError{"namespaces", fmt.Sprintf("has %d entries", len(list)), fmt.Sprintf("give at most %d", pause.MaxNamespaces)}
	}

	for _, ns := range list {
		if db := ns.GetDatabase(); db == "" || strings.Contains(db, ".") {
			return nil, &argumentError{"namespaces", fmt.Sprintf("has the database %q", db), "name a database, and a collection unless all of it is meant"}
		}

		namespaces = append(namespaces, event.Namespace{DB: ns.GetDatabase(), Coll: ns.GetCollection()})
	}

	return namespaces, nil
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

func encodeFlow(d *pause.Document) *relayv1.FlowControl {
	state := relayv1.FlowState_FLOW_STATE_RUNNING
	if d.Pause != nil {
		state = relayv1.FlowState_FLOW_STATE_PAUSED
	}

	return &relayv1.FlowControl{Name: d.Flow, State: state, Pause: encodePause(d.Pause), PausedNamespaces: encodeNamespaces(d.Namespaces)}
}

func encodeNamespaces(list []pause.Namespace) (encoded []*relayv1.PausedNamespace) {
	for i := range list {
		n := &list[i]
		encoded = append(encoded, &relayv1.PausedNamespace{
			Namespace: &relayv1.Namespace{Database: text(n.DB), Collection: text(n.Coll)}, Pause: encodePause(&n.Pause),
		})
	}

	return encoded
}

func encodePause(p *pause.Pause) *relayv1.Pause {
	if p == nil {
		return nil
	}

	return &relayv1.Pause{By: text(p.By), Reason: text(p.Reason), Since: timestamppb.New(p.Since)}
}

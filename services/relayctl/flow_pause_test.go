package main

import (
	"bytes"
	"context"
	"testing"
	"time"

	"github.com/spf13/cobra"
	"github.com/stretchr/testify/require"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/timestamppb"

	relayv1 "github.com/atlas-relay/atlas-relay/proto/relay/v1"
	"github.com/atlas-relay/atlas-relay/services/relayctl/internal/flow"
)

// flowService is one flow that remembers who paused it. The tests ask it one call at a time.
type flowService struct {
	relayv1.UnimplementedFlowServiceServer

	unknown    string // why it is not known what is paused
	pause      *relayv1.Pause
	namespaces []*relayv1.PausedNamespace
}

func (s *flowService) flow(name string) *relayv1.FlowControl {
	if s.unknown != "" {
		return &relayv1.FlowControl{Name: name, StateUnknownBecause: s.unknown}
	}

	if s.pause == nil {
		return &relayv1.FlowControl{Name: name, State: relayv1.FlowState_FLOW_STATE_RUNNING, PausedNamespaces: s.namespaces}
	}

	return &relayv1.FlowControl{Name: name, State: relayv1.FlowState_FLOW_STATE_PAUSED, Pause: s.pause, PausedNamespaces: s.namespaces}
}

func (s *flowService) GetFlow(_ context.Context, r *relayv1.GetFlowRequest) (*relayv1.GetFlowResponse, error) {
	return &relayv1.GetFlowResponse{Flow: s.flow(r.GetFlow())}, nil
}

func (s *flowService) PauseFlow(_ context.Context, r *relayv1.PauseFlowRequest) (*relayv1.PauseFlowResponse, error) {
	if r.GetRequestedBy() == "mallory" {
		return nil, status.Error(codes.PermissionDenied, "this needs the role operator")
	}

	since := timestamppb.New(time.Date(2026, 11, 29, 12, 0, 0, 0, time.UTC))
	pause := &relayv1.Pause{By: r.GetRequestedBy() + " from 192.0.2.1:5000", Reason: r.GetReason(), Since: since}

	for _, ns := range r.GetNamespaces() {
		s.namespaces = append(s.namespaces, &relayv1.PausedNamespace{Namespace: ns, Pause: pause})
	}

	changed := s.pause == nil || len(r.GetNamespaces()) > 0
	if s.pause == nil && len(r.GetNamespaces()) == 0 {
		s.pause = pause
	}

	return &relayv1.PauseFlowResponse{Flow: s.flow(r.GetFlow()), Changed: changed}, nil
}

func (s *flowService) ResumeFlow(_ context.Context, r *relayv1.ResumeFlowRequest) (*relayv1.ResumeFlowResponse, error) {
	if len(r.GetNamespaces()) > 0 {
		s.namespaces = nil

		return &relayv1.ResumeFlowResponse{Flow: s.flow(r.GetFlow()), Changed: true}, nil
	}

	changed := s.pause != nil
	s.pause = nil

	return &relayv1.ResumeFlowResponse{Flow: s.flow(r.GetFlow()), Changed: changed}, nil
}

func TestFlowPauseAndResume(t *testing.T) {
	t.Parallel()

	environ := []string{"RELAY_STATS_ADDR=" + serve(t, new(service)), "FLOW=shop"}

	for _, step := range []struct {
		args []string
		code int
		says string
	}{
		{[]string{"resume"}, 0, "flow shop runs\nnothing was changed: it was so before\n"},
		{[]string{"pause"}, 2, "--reason is missing"},
		{[]string{"pause", "--reason", "r", "--as", "mallory"}, 2, "this needs the role operator"},
		{[]string{"pause", "--reason", "upgrade\x1b[31m", "--as", "ann"}, 0, "flow shop is paused by ann from 192.0.2.1:5000 since 2026-11-29T12:00:00Z: upgrade\ufffd[31m\n"},
		{[]string{"pause", "--reason", "another", "--as", "bob"}, 0, "flow shop is paused by ann from"},
		{[]string{"pause", "--reason", "another", "--as", "bob"}, 0, "nothing was changed"},
		{[]string{"pause", "--reason", "another", "-o", "json"}, 0, `"changed": false`},
		{[]string{"resume", "-o", "json"}, 0, `"changed": true`},
		{[]string{"pause", "--reason", "r", "-o", "json"}, 0, `"state": "FLOW_STATE_PAUSED"`},
		{[]string{"resume"}, 0, "flow shop runs\n"},
		{[]string{"pause", "--reason", "r", "--namespace", ".orders"}, 2, `--namespace ".orders" is none`},
		{[]string{"resume", "--namespace", "shop."}, 2, `--namespace "shop." is none`},
		{[]string{"pause", "--reason", "r", "--as", "ann", "--namespace", "shop.a.b", "--namespace", "stock"}, 0, "runs\n  shop.a.b is paused by ann from "},
		{[]string{"resume", "--namespace", "stock"}, 0, "flow shop runs\n"},
		{[]string{"resume", "--server", "127.0.0.1:1"}, 3, "cannot be reached"},
	} {
		r := relayctl(t, environ, append([]string{"flow"}, step.args...)...)
		require.Equal(t, step.code, r.code, "%v: %s", step.args, r.errOut)
		require.Contains(t, r.out+r.errOut, step.says, "%v", step.args)
	}
}

// What the target does not say is unknown with the reason, never a flow that runs.
func TestStateOfAFlowThatIsNotKnown(t *testing.T) {
	t.Parallel()

	p := &program{environ: map[string]string{}}
	cmd, q := new(cobra.Command), new(question)
	p.addServerFlag(cmd, q)
	q.server = serve(t, &service{flows: flowService{unknown: "document shop does not say what is paused; mend it\x1b[31m"}})

	shown := &flow.Shown{Flow: "shop"}
	q.addState(t.Context(), shown)
	require.Empty(t, shown.State)

	var out bytes.Buffer

	p.out = &out
	require.NoError(t, p.printShown(shown))
	require.Contains(t, out.String(), "state          unknown because document shop does not say what is paused; mend it\ufffd[31m\n")
}

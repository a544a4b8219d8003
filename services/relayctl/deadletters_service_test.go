package main

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"sync"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	relayv1 "github.com/atlas-relay/atlas-relay/proto/relay/v1"
)

// letterService answers with what a test chose, and keeps what it was asked.
type letterService struct {
	relayv1.UnimplementedDeadLetterServiceServer

	letters []*relayv1.DeadLetter
	content *relayv1.GetDeadLetterResponse
	outcome *relayv1.DeadLetterOutcome
	// operations are answered one after the other, nil as a service that is away; the last one stays.
	operations []*relayv1.DeadLetterOperation

	mu    sync.Mutex
	asked []proto.Message // guarded by mu
}

func (s *letterService) keep(request proto.Message) {
	s.mu.Lock()
	defer s.mu.Unlock()

	s.asked = append(s.asked, proto.Clone(request))
}

func (s *letterService) requests() []proto.Message {
	s.mu.Lock()
	defer s.mu.Unlock()

	return slices.Clone(s.asked)
}

// ListDeadLetters takes the number of what was listed for a token.
func (s *letterService) ListDeadLetters(_ context.Context, request *relayv1.ListDeadLettersRequest) (*relayv1.ListDeadLettersResponse, error) {
	s.keep(request)

	var from int

	_, _ = fmt.Sscan(request.GetPageToken(), &from) // none is 0
	to := min(from+int(request.GetPageSize()), len(s.letters))

	page := &relayv1.ListDeadLettersResponse{DeadLetters: s.letters[from:to]}
	if to < len(s.letters) {
		page.NextPageToken = strconv.Itoa(to)
	}

	return page, nil
}

func (s *letterService) GetDeadLetter(_ context.Context, request *relayv1.GetDeadLetterRequest) (*relayv1.GetDeadLetterResponse, error) {
	s.keep(request)

	if s.content == nil {
		return nil, status.Error(codes.NotFound, "no such record")
	}

	return s.content, nil
}

func (s *letterService) ReplayDeadLetters(_ context.Context, request *relayv1.ReplayDeadLettersRequest) (*relayv1.ReplayDeadLettersResponse, error) {
	s.keep(request)

	return &relayv1.ReplayDeadLettersResponse{Outcome: s.outcome, Operation: s.operationName()}, nil
}

func (s *letterService) RefetchDeadLetters(_ context.Context, request *relayv1.RefetchDeadLettersRequest) (*relayv1.RefetchDeadLettersResponse, error) {
	s.keep(request)

	return &relayv1.RefetchDeadLettersResponse{Outcome: s.outcome, Operation: s.operationName()}, nil
}

func (s *letterService) operationName() string {
	if len(s.operations) == 0 {
		return ""
	}

	return "f/1/operation"
}

func (s *letterService) GetDeadLetterOperation(_ context.Context, request *relayv1.GetDeadLetterOperationRequest) (*relayv1.GetDeadLetterOperationResponse, error) {
	s.mu.Lock()
	defer s.mu.Unlock()

	if request.GetName() != s.operationName() {
		return nil, status.Error(codes.NotFound, "no such operation")
	}

	o := s.operations[0]
	if len(s.operations) > 1 {
		s.operations = s.operations[1:]
	}

	if o == nil {
		return nil, status.Error(codes.Unavailable, "away")
	}

	return &relayv1.GetDeadLetterOperationResponse{Operation: o}, nil
}

func (s *letterService) DiscardDeadLetters(_ context.Context, request *relayv1.DiscardDeadLettersRequest) (*relayv1.DiscardDeadLettersResponse, error) {
	s.keep(request)

	return &relayv1.DiscardDeadLettersResponse{Outcome: s.outcome}, nil
}

func letter(n int) *relayv1.DeadLetter {
	died := time.Date(2026, 11, 25, 12, 0, n, 0, time.UTC)

	return &relayv1.DeadLetter{
		Name: fmt.Sprintf("atlas-to-local/0123456789abcdef/0/03/%015d", n), Rev: 7, State: relayv1.ParkedState_PARKED_STATE_DEAD,
		Reason: relayv1.ParkedReason_PARKED_REASON_FAILED, Namespace: &relayv1.Namespace{Database: "shop", Collection: "orders"},
		Operation: "insert", Partition: 3, Position: &relayv1.Position{Seconds: 1_800_000_000, Increment: 2}, EventNumber: 41, Size: 2048,
		Attempts: 6, ErrorCode: 121, Error: "Document failed validation", CountedAsFailed: true,
		FirstTime: timestamppb.New(died.Add(-2 * time.Minute)), LastTime: timestamppb.New(died), ChangeTime: timestamppb.New(died),
		CollectionUuid: "30313233-3435-3637-3839-616263646566", TraceId: "0af7651916cd43dd8448eb211c80319c",
		Actions: []*relayv1.DeadLetterAction{{Action: "replay", Who: "ann from 10.0.0.1:5", Why: "try", Time: timestamppb.New(died)}},
	}
}

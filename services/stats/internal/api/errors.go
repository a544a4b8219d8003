package api

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"strings"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/protoadapt"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/atlas-relay/atlas-relay/pkg/mongodb"
	"github.com/atlas-relay/atlas-relay/pkg/pause"
	"github.com/atlas-relay/atlas-relay/services/stats/internal/access"
	"github.com/atlas-relay/atlas-relay/services/stats/internal/deadletter"
	"github.com/atlas-relay/atlas-relay/services/stats/internal/trouble"
)

// Reasons of ErrorInfo. They are part of the contract and change only by adding.
const (
	reasonFlowNotFound  = "FLOW_NOT_FOUND"
	reasonFlowRequired  = "FLOW_REQUIRED"
	reasonInterval      = "INTERVAL_TOO_SHORT"
	reasonNobodyAnswers = "SERVERS_UNREACHABLE"
	reasonStopping      = "STOPPING"
	reasonArgument      = "INVALID_FIELD"
	reasonPageToken     = "INVALID_PAGE_TOKEN"
	reasonNotFound      = "DEAD_LETTER_NOT_FOUND"
	reasonNoOperation   = "OPERATION_NOT_FOUND"
	reasonTarget        = "TARGET_UNREACHABLE"
	reasonForbidden     = "TARGET_FORBIDS"
	reasonNoToken       = "TOKEN_REQUIRED"
	reasonBadToken      = "TOKEN_UNKNOWN"
	reasonRole          = "ROLE_TOO_LOW"
	reasonTooManyPaused = "TOO_MANY_PAUSED_NAMESPACES"
	reasonPauseDamaged  = "PAUSE_DAMAGED"
	reasonManyWatches   = "TOO_MANY_WATCHES"
)

// domain of ErrorInfo (AIP-193): who defines the reasons.
const domain = "relay.v1"

// retryAfter is when a client may ask again after UNAVAILABLE.
const retryAfter = time.Second

var (
	errNobodyAnswers  = errors.New("neither NATS nor the target can be asked")
	errStopping       = errors.New("the stats service is stopping")
	errTooManyWatches = fmt.Errorf("%d pages and watches over HTTP are open already", mostInside)
)

// flowError is a request for a flow that is not watched here.
type flowError struct {
	reason string
	name   string
	known  []string
}

func (e *flowError) Error() string {
	if e.reason == reasonFlowRequired {
		return "this service watches several flows, name one of them: " + list(e.known)
	}

	return fmt.Sprintf("flow %q is not watched by this service; it watches: %s", e.name, list(e.known))
}

type intervalError struct{ interval time.Duration }

func (e *intervalError) Error() string {
	return fmt.Sprintf("interval %s is too short, the least is %s", e.interval, minInterval)
}

// argumentError is a field of a request that no waiting makes right.
type argumentError struct{ field, what, remedy string }

func (e *argumentError) Error() string { return e.field + " " + e.what }

// nobodyError is errNobodyAnswers with the reasons.
type nobodyError struct{ reasons []string }

func (e *nobodyError) Error() string {
	return errNobodyAnswers.Error() + ": " + strings.Join(e.reasons, "; ")
}

func (*nobodyError) Unwrap() error { return errNobodyAnswers }

// internalError is what toStatus does not know. Its cause may tell of our insides, so only the log has that, beside an id.
type internalError struct {
	cause error
	id    string
}

func (e *internalError) Error() string { return "internal error " + e.id + ": " + e.cause.Error() }

func (e *internalError) Unwrap() error { return e.cause }

// GRPCStatus implements what google.golang.org/grpc/status looks for.
func (e *internalError) GRPCStatus() *status.Status {
	return status.New(codes.Internal, "internal error; the log of the stats service says more beside the id "+e.id)
}

// toStatus is the one place where errors become codes.
func toStatus(err error) error {
	var (
		flow     *flowError
		interval *intervalError
	)

	switch {
	case errors.As(err, &flow) && flow.reason == reasonFlowRequired:
		return with(codes.InvalidArgument, err, flow.reason, "set the field flow", map[string]string{"flows": list(flow.known)})
	case errors.As(err, &flow):
		return with(codes.NotFound, err, flow.reason, "ask for a flow of the list, or add this one to TARGET_URIS of the stats service",
			map[string]string{"flow": flow.name, "flows": list(flow.known)})
	case errors.As(err, &interval):
		return with(codes.InvalidArgument, err, reasonInterval, "ask for a longer interval", map[string]string{"least": minInterval.String()})
	case errors.Is(err, errNobodyAnswers):
		return with(codes.Unavailable, err, reasonNobodyAnswers, "check that NATS and the target run and that the stats service reaches them", nil,
			&errdetails.RetryInfo{RetryDelay: durationpb.New(retryAfter)})
	case errors.Is(err, errStopping):
		return with(codes.Unavailable, err, reasonStopping, "connect again when it is back", nil,
			&errdetails.RetryInfo{RetryDelay: durationpb.New(retryAfter)})
	case errors.Is(err, errTooManyWatches):
		return with(codes.ResourceExhausted, err, reasonManyWatches, "close some, or ask over gRPC: relayctl status", nil)
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded) && !errors.As(err, new(*trouble.TargetError)):
		return status.FromContextError(err).Err()
	default:
		return callerStatus(err)
	}
}

// callerStatus is the part of toStatus that concerns who asks.
func callerStatus(err error) error {
	var role *access.RoleError

	switch {
	case errors.Is(err, access.ErrNoToken):
		return with(codes.Unauthenticated, err, reasonNoToken,
			"show a token of API_TOKENS_FILE (relayctl: API_TOKEN or API_TOKEN_FILE) or a client certificate that it names (STATS_CERT and STATS_KEY), "+
				"ask from the host of the stats service, or set API_OPEN there", nil)
	case errors.Is(err, access.ErrBadToken):
		return with(codes.Unauthenticated, err, reasonBadToken, "compare it with API_TOKENS_FILE of the stats service", nil)
	case errors.As(err, &role) && role.Certificate != "":
		return with(codes.PermissionDenied, err, reasonRole,
			fmt.Sprintf("add the line \"cert:%s %s\" to API_TOKENS_FILE of the stats service, or show another certificate or a token", role.Certificate, role.Needs),
			map[string]string{"role": role.Needs.String()})
	case errors.As(err, &role):
		return with(codes.PermissionDenied, err, reasonRole, "show the token of an operator", map[string]string{"role": role.Needs.String()})
	default:
		return letterStatus(err)
	}
}

// letterStatus is the part of toStatus that concerns dead letters.
func letterStatus(err error) error {
	var (
		argument *argumentError
		target   *trouble.TargetError
		damaged  *pause.DamagedError
	)

	switch {
	case errors.As(err, &argument):
		return with(codes.InvalidArgument, err, reasonArgument, argument.remedy, map[string]string{"field": argument.field})
	case errors.Is(err, deadletter.ErrPageToken):
		return with(codes.InvalidArgument, err, reasonPageToken, "begin with the first page, or repeat the request that the token came with", nil)
	case errors.Is(err, pause.ErrTooMany):
		return with(codes.FailedPrecondition, err, reasonTooManyPaused, "pause databases instead of their collections, or the flow as a whole", nil)
	case errors.As(err, &damaged):
		return with(codes.FailedPrecondition, err, reasonPauseDamaged, damaged.Remedy(), map[string]string{"flow": damaged.Flow})
	case errors.Is(err, deadletter.ErrNotFound):
		return with(codes.NotFound, err, reasonNotFound, "relayctl dead-letters list --state all; one that was applied after a retry is gone", nil)
	case errors.Is(err, deadletter.ErrNoOperation):
		return with(codes.NotFound, err, reasonNoOperation, "relayctl audit -o json shows the names", nil)
	case errors.As(err, &target) && mongodb.IsUnauthorized(err):
		return with(codes.FailedPrecondition, err, reasonForbidden, "grant the stats service's user readWrite on atlas_relay of the target",
			map[string]string{"flow": target.Flow})
	case errors.As(err, &target) && mongodb.IsTransient(err):
		return with(codes.Unavailable, err, reasonTarget, "check that the target runs and that the stats service reaches it",
			map[string]string{"flow": target.Flow}, &errdetails.RetryInfo{RetryDelay: durationpb.New(retryAfter)})
	default:
		return &internalError{cause: err, id: rand.Text()[:8]}
	}
}

// with adds the machine's reason and the person's remedy.
func with(code codes.Code, err error, reason, remedy string, metadata map[string]string, more ...protoadapt.MessageV1) error {
	if metadata == nil {
		metadata = make(map[string]string)
	}

	metadata["remedy"] = remedy
	details := append([]protoadapt.MessageV1{&errdetails.ErrorInfo{Reason: reason, Domain: domain, Metadata: metadata}}, more...)

	s, failed := status.New(code, err.Error()).WithDetails(details...)
	if failed != nil {
		return status.Error(code, err.Error())
	}

	return s.Err()
}

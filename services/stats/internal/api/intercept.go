package api

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"golang.org/x/time/rate"
	"google.golang.org/grpc"
	"google.golang.org/grpc/peer"

	"github.com/atlas-relay/atlas-relay/pkg/telemetry"
	"github.com/atlas-relay/atlas-relay/services/stats/internal/access"
)

// mostInside is how many watches the connection within the process may hold: those of the page and of JSON. It takes
// maxStreams calls; the rest is for short ones.
const mostInside = 50

// interceptor is what every call goes through: who may ask, how many may, and what is written down of it.
type interceptor struct {
	guard   *access.Guard
	log     *slog.Logger
	inside  chan struct{} // holds one value for each watch of the connection within the process
	refused rate.Sometimes
}

func newInterceptor(guard *access.Guard, log *slog.Logger) *interceptor {
	return &interceptor{
		guard: guard, log: log, inside: make(chan struct{}, mostInside),
		refused: rate.Sometimes{First: 10, Interval: time.Minute}, // whoever guesses tokens fills no log
	}
}

func (i *interceptor) unary(ctx context.Context, request any, info *grpc.UnaryServerInfo, handle grpc.UnaryHandler) (any, error) {
	admitted, err := i.admit(ctx, info.FullMethod)
	if err != nil {
		return nil, err
	}

	answer, err := handle(admitted, request)
	i.explain(ctx, info.FullMethod, err)

	return answer, err
}

func (i *interceptor) stream(server any, stream grpc.ServerStream, info *grpc.StreamServerInfo, handle grpc.StreamHandler) error {
	ctx := stream.Context()

	// No stream changes anything, so none asks who is there.
	if _, err := i.admit(ctx, info.FullMethod); err != nil {
		return err
	}

	if isInside(ctx) {
		select {
		case i.inside <- struct{}{}:
			defer func() { <-i.inside }()
		default:
			return toStatus(errTooManyWatches)
		}
	}

	err := handle(server, &guardedStream{ServerStream: stream, interceptor: i, method: info.FullMethod})
	i.explain(ctx, info.FullMethod, err)

	return err
}

// guardedStream asks before each answer whether the caller may still see it: a token that was taken away ends its watches.
type guardedStream struct {
	grpc.ServerStream

	interceptor *interceptor
	method      string
}

// SendMsg implements grpc.ServerStream.
func (s *guardedStream) SendMsg(m any) error {
	if _, err := s.interceptor.admit(s.Context(), s.method); err != nil {
		return err
	}

	return s.ServerStream.SendMsg(m)
}

func (i *interceptor) admit(ctx context.Context, method string) (context.Context, error) {
	caller := callerOf(ctx)

	id, err := i.guard.Admit(caller, needs(method))
	if errors.Is(err, access.ErrBadToken) {
		i.refused.Do(func() {
			i.log.WarnContext(ctx, "a token that is not known was shown", slog.String("caller", caller.Addr), slog.String("method", method))
		})
	}

	if err != nil {
		return nil, toStatus(err)
	}

	return access.With(ctx, id), nil
}

// explain writes down what the caller is not told.
func (i *interceptor) explain(ctx context.Context, method string, err error) {
	if internal, ok := errors.AsType[*internalError](err); ok {
		i.log.ErrorContext(ctx, "a question could not be answered", slog.String("id", internal.id),
			slog.String("method", method), slog.Any(telemetry.KeyError, internal.cause))
	}
}

// isInside tells whether a call came over the connection within the process.
func isInside(ctx context.Context) bool {
	p, ok := peer.FromContext(ctx)

	return ok && p.Addr.Network() == inProcessNetwork
}

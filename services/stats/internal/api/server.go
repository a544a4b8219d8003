package api

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/health"
	"google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/reflection"

	relayv1 "github.com/atlas-relay/atlas-relay/proto/relay/v1"
	"github.com/atlas-relay/atlas-relay/services/stats/internal/deadletter"
)

// Bounds of what clients may ask of the server.
const (
	maxRequest    = 1 << 20          // bytes; requests are names and numbers, at most 1000
	maxStreams    = 100              // calls of one connection at a time
	idleTimeout   = 15 * time.Minute // after which an unused connection is closed
	pingAfter     = 30 * time.Second // silence after which a client is asked whether it lives
	pingTimeout   = 10 * time.Second
	minClientPing = 10 * time.Second // a client that pings more often is cut off
	unaryTimeout  = 10 * time.Second // longest answer, whatever deadline the client sets; see longCalls
	// stopTimeout is what calls get to end after the stop; it is below the
	// least sensible SHUTDOWN_GRACE.
	stopTimeout = 3 * time.Second
)

// Server is a gRPC server that listens already and serves once Serve runs.
type Server struct {
	listener net.Listener
	grpc     *grpc.Server
	health   *health.Server

	stop     sync.Once
	stopping chan struct{} // closed by Serve
}

// Listen opens the address, so that a taken port is an error at start. Serve
// must follow; it closes the listener. Letters are the dead letters of the flows.
func Listen(ctx context.Context, addr string, flows []Flow, letters []*deadletter.Letters) (*Server, error) {
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", addr)
	if err != nil {
		return nil, fmt.Errorf("listen for gRPC on %s (GRPC_ADDR): %w", addr, err)
	}

	s := &Server{
		listener: listener,
		health:   health.NewServer(),
		stopping: make(chan struct{}),
		grpc: grpc.NewServer(
			grpc.MaxRecvMsgSize(maxRequest),
			grpc.MaxConcurrentStreams(maxStreams),
			grpc.KeepaliveParams(keepalive.ServerParameters{MaxConnectionIdle: idleTimeout, Time: pingAfter, Timeout: pingTimeout}),
			grpc.KeepaliveEnforcementPolicy(keepalive.EnforcementPolicy{MinTime: minClientPing, PermitWithoutStream: true}),
			grpc.UnaryInterceptor(bound(longCalls())),
		),
	}

	relayv1.RegisterStatsServiceServer(s.grpc, &service{flows: flows, stopping: s.stopping})
	relayv1.RegisterDeadLetterServiceServer(s.grpc, &letterService{letters: letters})
	grpc_health_v1.RegisterHealthServer(s.grpc, s.health)
	reflection.Register(s.grpc)

	// Serving means answering: a sample says itself what is not fine, also
	// while NATS or the target is away.
	s.health.SetServingStatus(relayv1.StatsService_ServiceDesc.ServiceName, grpc_health_v1.HealthCheckResponse_SERVING)
	s.health.SetServingStatus(relayv1.DeadLetterService_ServiceDesc.ServiceName, grpc_health_v1.HealthCheckResponse_SERVING)

	return s, nil
}

// bound gives each call a deadline: its own, or unaryTimeout.
func bound(own map[string]time.Duration) grpc.UnaryServerInterceptor {
	return func(ctx context.Context, request any, info *grpc.UnaryServerInfo, handle grpc.UnaryHandler) (any, error) {
		timeout := unaryTimeout
		if longer, ok := own[info.FullMethod]; ok {
			timeout = longer
		}

		ctx, cancel := context.WithTimeout(ctx, timeout)
		defer cancel()

		return handle(ctx, request)
	}
}

// Addr is the address that the server listens on, with the port picked for :0.
func (s *Server) Addr() string { return s.listener.Addr().String() }

// Serve answers until ctx ends: health turns to NOT_SERVING, watches are ended,
// calls under way are finished.
func (s *Server) Serve(ctx context.Context) error {
	served := make(chan error, 1)
	go func() { served <- s.grpc.Serve(s.listener) }()

	select {
	case err := <-served:
		return fmt.Errorf("serve gRPC on %s: %w", s.Addr(), err)
	case <-ctx.Done():
	}

	s.health.Shutdown()
	s.stop.Do(func() { close(s.stopping) })

	cut := time.AfterFunc(stopTimeout, s.grpc.Stop)
	defer cut.Stop()

	s.grpc.GracefulStop()

	// A stop that came before Serve had begun is a stop like any other.
	if err := <-served; err != nil && !errors.Is(err, grpc.ErrServerStopped) {
		return fmt.Errorf("stop serving gRPC: %w", err)
	}

	return nil
}

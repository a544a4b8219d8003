package api

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/health"
	"google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/reflection"
	"google.golang.org/grpc/test/bufconn"

	relayv1 "github.com/atlas-relay/atlas-relay/proto/relay/v1"
	"github.com/atlas-relay/atlas-relay/services/stats/internal/access"
	"github.com/atlas-relay/atlas-relay/services/stats/internal/deadletter"
	"github.com/atlas-relay/atlas-relay/services/stats/internal/pausing"
	"github.com/atlas-relay/atlas-relay/services/stats/internal/timeline"
)

// Bounds of what clients may ask of the server.
const (
	maxRequest    = 1 << 20          // bytes; requests are names and numbers, at most 1000
	maxAnswer     = 72 << 20         // bytes; an event of 16 MiB, once as BSON and once as JSON
	insideBuffer  = 256 << 10        // bytes under way within the process
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

// inProcessNetwork is the network of addresses of the connection that Dial makes.
const inProcessNetwork = "bufconn"

// Server is a gRPC server that listens already and serves once Serve runs.
type Server struct {
	listener net.Listener
	inside   *bufconn.Listener // for Dial
	grpc     *grpc.Server
	health   *health.Server

	stop     sync.Once
	stopping chan struct{} // closed by Serve
}

// Options says what is served, and to whom.
type Options struct {
	Addr      string
	TLS       *tls.Config // nil: without
	Guard     *access.Guard
	Flows     []Flow
	Letters   []*deadletter.Letters         // of the flows
	Switches  []*pausing.Switch             // of the flows
	Timelines map[string]*timeline.Timeline // by flow; one that is absent is empty
	// Log takes the causes of internal errors, and that tokens were refused.
	Log *slog.Logger
}

// Listen opens the address, so that a taken port is an error at start. Serve must follow; it closes the listener.
func Listen(ctx context.Context, o Options) (*Server, error) {
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", o.Addr)
	if err != nil {
		return nil, fmt.Errorf("listen for gRPC on %s (GRPC_ADDR): %w", o.Addr, err)
	}

	calls := newInterceptor(o.Guard, o.Log)
	s := &Server{
		listener: listener,
		inside:   bufconn.Listen(insideBuffer),
		health:   health.NewServer(),
		stopping: make(chan struct{}),
		grpc: grpc.NewServer(
			grpc.Creds(serverCredentials(o.TLS)),
			grpc.MaxRecvMsgSize(maxRequest),
			grpc.MaxConcurrentStreams(maxStreams),
			grpc.KeepaliveParams(keepalive.ServerParameters{MaxConnectionIdle: idleTimeout, Time: pingAfter, Timeout: pingTimeout}),
			grpc.KeepaliveEnforcementPolicy(keepalive.EnforcementPolicy{MinTime: minClientPing, PermitWithoutStream: true}),
			grpc.ChainUnaryInterceptor(calls.unary, bound(longCalls())),
			grpc.StreamInterceptor(calls.stream),
		),
	}

	relayv1.RegisterStatsServiceServer(s.grpc, &service{flows: o.Flows, letters: o.Letters, timelines: o.Timelines, stopping: s.stopping})
	relayv1.RegisterDeadLetterServiceServer(s.grpc, &letterService{letters: o.Letters})
	relayv1.RegisterFlowServiceServer(s.grpc, &flowService{switches: o.Switches})
	grpc_health_v1.RegisterHealthServer(s.grpc, s.health)
	reflection.Register(s.grpc)

	// Serving means answering: a sample says itself what is not fine, also
	// while NATS or the target is away.
	for _, service := range []*grpc.ServiceDesc{
		&relayv1.StatsService_ServiceDesc, &relayv1.DeadLetterService_ServiceDesc, &relayv1.FlowService_ServiceDesc,
	} {
		s.health.SetServingStatus(service.ServiceName, grpc_health_v1.HealthCheckResponse_SERVING)
	}

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

// Dial returns a client within this process. What it says in its metadata of where a request came from is believed.
func (s *Server) Dial() (*grpc.ClientConn, error) {
	conn, err := grpc.NewClient("passthrough:///inside",
		grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) { return s.inside.DialContext(ctx) }),
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(maxAnswer)))
	if err != nil {
		return nil, fmt.Errorf("connect within the process: %w", err)
	}

	return conn, nil
}

// Serve answers until ctx ends: health turns to NOT_SERVING, watches are ended,
// calls under way are finished.
func (s *Server) Serve(ctx context.Context) error {
	served := make(chan error, 2)
	go func() { served <- s.grpc.Serve(s.listener) }()
	go func() { served <- s.grpc.Serve(s.inside) }()

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
	var errs []error

	for range cap(served) {
		if err := <-served; err != nil && !errors.Is(err, grpc.ErrServerStopped) {
			errs = append(errs, fmt.Errorf("stop serving gRPC: %w", err))
		}
	}

	return errors.Join(errs...)
}

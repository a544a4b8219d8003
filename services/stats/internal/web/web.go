// Package web is what people and programs see of the service over HTTP:
//
//	/                           the page, which asks for the rest
//	/v1/...                     the methods of relay.v1 as JSON, see proto/relay/v1/http.yaml
//	/v1/flows/{flow}/events     the samples of a flow as server-sent events
//	/openapi.json               the description of /v1
//
// It knows nothing itself: every question goes to the gRPC server of this process, which also decides who may ask. So
// both protocols answer alike, and there is one place to look for access and audit.
package web

import (
	"context"
	"crypto/tls"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"time"

	"github.com/grpc-ecosystem/grpc-gateway/v2/runtime"
	"github.com/klauspost/compress/gzhttp"
	"google.golang.org/grpc"

	"github.com/atlas-relay/atlas-relay/pkg/lifecycle"
	gateway "github.com/atlas-relay/atlas-relay/services/stats/internal/gateway/relay/v1"
)

const (
	headerTimeout = 5 * time.Second
	idleTimeout   = 2 * time.Minute
	maxHeader     = 32 << 10 // bytes
	// stopTimeout is what answers get to end after the stop. Event streams end before: the gRPC server ends theirs.
	stopTimeout = 4 * time.Second
)

// Server is an HTTP server that listens already and serves once Serve runs.
type Server struct {
	listener net.Listener
	http     *http.Server
}

// Options says what is served.
type Options struct {
	Addr string
	// Conn leads to the gRPC server of this process.
	Conn *grpc.ClientConn
	// TLS is nil for a server without; Covers tells whether its certificate is for a host.
	TLS    *tls.Config
	Covers func(host string) bool
	// Log takes what clients do wrong, at the level debug.
	Log *slog.Logger
}

// Listen opens the address, so that a taken port is an error at start. Serve must follow; it closes the listener.
func Listen(ctx context.Context, o Options) (*Server, error) {
	handler, err := newHandler(ctx, &o)
	if err != nil {
		return nil, err
	}

	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", o.Addr)
	if err != nil {
		return nil, fmt.Errorf("listen for HTTP on %s (HTTP_ADDR): %w", o.Addr, err)
	}

	if o.TLS != nil {
		listener = tls.NewListener(listener, o.TLS)
	}

	return &Server{
		listener: listener,
		http: &http.Server{
			Handler: handler, ReadHeaderTimeout: headerTimeout, IdleTimeout: idleTimeout, MaxHeaderBytes: maxHeader,
			ErrorLog: slog.NewLogLogger(o.Log.Handler(), slog.LevelDebug),
		},
	}, nil
}

// Addr is the address that the server listens on, with the port picked for :0.
func (s *Server) Addr() string { return s.listener.Addr().String() }

// Serve answers until ctx ends; answers under way are finished.
func (s *Server) Serve(ctx context.Context) error {
	return lifecycle.ServeHTTP(ctx, "HTTP", s.http, s.listener, stopTimeout)
}

func newHandler(ctx context.Context, o *Options) (http.Handler, error) {
	caller := &caller{covers: o.Covers}
	translate := newTranslator(caller)

	for _, register := range []func(context.Context, *runtime.ServeMux, *grpc.ClientConn) error{
		gateway.RegisterStatsServiceHandler, gateway.RegisterDeadLetterServiceHandler, gateway.RegisterFlowServiceHandler,
	} {
		if err := register(ctx, translate, o.Conn); err != nil {
			return nil, fmt.Errorf("translate JSON to gRPC: %w", err)
		}
	}

	files, err := newPage()
	if err != nil {
		return nil, err
	}

	mux := http.NewServeMux()
	mux.Handle("/v1/", patient(gzhttp.GzipHandler(bounded(translate))))
	mux.Handle("GET /v1/flows/{flow}/events", newEvents(o.Conn, translate, caller))
	mux.Handle("/openapi.json", gzhttp.GzipHandler(http.HandlerFunc(serveDescription)))
	mux.Handle("/", gzhttp.GzipHandler(files))

	// A browser on this host may be sent here by any site that it shows: what is not asked by our own page, or by no
	// page at all, changes nothing.
	return headers(http.NewCrossOriginProtection().Handler(mux)), nil
}

// secureFor is how long a browser keeps to TLS for a host that answered with it. This holds for every port of the host,
// and so never for this host's own names: whatever else is developed there has no certificate.
const secureFor = "max-age=31536000"

func isNameOfThisHost(hostport string) bool {
	host := hostOf(hostport)

	return host == "localhost" || strings.HasSuffix(host, ".localhost") || net.ParseIP(host).IsLoopback()
}

// headers are those of every answer. Nothing but our own files runs in the page, and it cannot make markup of text: what
// is in a document stays text, even if some line of ours were wrong.
func headers(next http.Handler) http.Handler {
	const policy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; " +
		"base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'"

	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Content-Security-Policy", policy)
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Referrer-Policy", "no-referrer")
		h.Set("Cross-Origin-Resource-Policy", "same-origin")
		h.Set("Cross-Origin-Opener-Policy", "same-origin")
		h.Set("Cache-Control", "no-store")

		if r.TLS != nil && !isNameOfThisHost(r.Host) {
			h.Set("Strict-Transport-Security", secureFor)
		}

		next.ServeHTTP(w, r)
	})
}

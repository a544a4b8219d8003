// Package ops is the HTTP server that tells a process's health, metrics and profiles.
//
//	/livez         200, or 503 with the loops that stand still: restart me
//	/readyz        200, or 503 with the parts that are not ready: send me no work
//	/metrics       Prometheus
//	/debug/pprof   profiles
//
// It has neither authentication nor TLS: listen on the loopback or on a network of the operators.
package ops

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/http/pprof"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/atlas-relay/atlas-relay/pkg/lifecycle"
)

const (
	headerTimeout   = 5 * time.Second
	shutdownTimeout = time.Second
)

// Server is an ops server that listens already and serves once Serve runs.
type Server struct {
	listener net.Listener
	http     *http.Server
}

// Listen opens the address, so that a taken port is an error at start and not a line in the log later. Serve must
// follow; it closes the listener.
func Listen(ctx context.Context, addr string, health *Health, metrics prometheus.Gatherer) (*Server, error) {
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", addr)
	if err != nil {
		return nil, fmt.Errorf("listen for ops on %s (OPS_ADDR): %w", addr, err)
	}

	return &Server{
		listener: listener,
		http:     &http.Server{Handler: handler(health, metrics), ReadHeaderTimeout: headerTimeout},
	}, nil
}

// Addr is the address that the server listens on, with the port that was picked for :0.
func (s *Server) Addr() string {
	return s.listener.Addr().String()
}

// Serve answers until ctx ends. Run it as a lifecycle task marked Last, so that a drain can be watched.
func (s *Server) Serve(ctx context.Context) error {
	// A profile may run for 30 s; nobody waits for it.
	return lifecycle.ServeHTTP(ctx, "ops", s.http, s.listener, shutdownTimeout)
}

func handler(health *Health, metrics prometheus.Gatherer) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /livez", answer("alive", health.NotAlive, func() []Reason { return nil }))
	mux.HandleFunc("GET /readyz", answer("ready", health.NotReady, health.Notes))
	mux.Handle("GET /metrics", promhttp.HandlerFor(metrics, promhttp.HandlerOpts{EnableOpenMetrics: true}))
	mux.HandleFunc("/debug/pprof/", pprof.Index)
	mux.HandleFunc("/debug/pprof/cmdline", pprof.Cmdline)
	mux.HandleFunc("/debug/pprof/profile", pprof.Profile)
	mux.HandleFunc("/debug/pprof/symbol", pprof.Symbol)
	mux.HandleFunc("/debug/pprof/trace", pprof.Trace)

	return mux
}

// report is the body of /livez and /readyz.
type report struct {
	Status  string   `json:"status"`
	Reasons []Reason `json:"reasons,omitempty"`
	Notes   []Reason `json:"notes,omitempty"` // of what is ready, for people
}

func answer(good string, ask, notes func() []Reason) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		body, status := report{Status: good, Reasons: ask(), Notes: notes()}, http.StatusOK
		if len(body.Reasons) > 0 {
			body.Status, status = "not "+good, http.StatusServiceUnavailable
		}

		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(status)
		if err := json.NewEncoder(w).Encode(body); err != nil {
			return // the asker is gone; there is nobody to tell
		}
	}
}

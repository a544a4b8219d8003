package main

import (
	"context"
	"crypto/tls"
	"log/slog"
	"net"

	"github.com/atlas-relay/atlas-relay/pkg/lifecycle"
	"github.com/atlas-relay/atlas-relay/pkg/service"
	"github.com/atlas-relay/atlas-relay/pkg/telemetry"
	"github.com/atlas-relay/atlas-relay/pkg/tlsfiles"
	"github.com/atlas-relay/atlas-relay/services/stats/internal/access"
)

// security is how both APIs are protected: on the wire, and from whom.
type security struct {
	guard *access.Guard
	files *tlsfiles.Store // nil: no TLS
	tasks []lifecycle.Task
}

// secure reads the files of tokens and of TLS, those that there are. Tokens without TLS may be read on the way: it says so.
func secure(ctx context.Context, cfg *Config, p *service.Process) (*security, error) {
	tokens, err := cfg.tokens()
	if err != nil {
		return nil, err
	}

	files, err := cfg.certificates()
	if err != nil {
		return nil, err
	}

	s := &security{guard: cfg.guard(tokens), files: files}

	if tokens != nil {
		s.tasks = append(s.tasks, lifecycle.Task{Name: "tokens", Run: func(ctx context.Context) error { return tokens.Watch(ctx, p.Log) }})
	}

	switch {
	case files != nil:
		s.tasks = append(s.tasks, p.WatchFiles("certificates", files))
	case tokens != nil && (!isOfThisHost(cfg.GRPCAddr) || !isOfThisHost(cfg.HTTPAddr)):
		p.Log.WarnContext(ctx, "tokens cross the network in the clear", slog.String(telemetry.KeyRemedy, "set API_CERT and API_KEY, or listen on 127.0.0.1"))
	}

	return s, nil
}

// config is nil without TLS.
func (s *security) config(protocols ...string) *tls.Config {
	if s.files == nil {
		return nil
	}

	return s.files.Server(protocols...)
}

func (s *security) covers(host string) bool { return s.files != nil && s.files.IsFor(host) }

// isOfThisHost tells whether nobody else reaches the address.
func isOfThisHost(addr string) bool {
	host, _, err := net.SplitHostPort(addr)

	return addr == off || err == nil && (host == "localhost" || net.ParseIP(host).IsLoopback())
}

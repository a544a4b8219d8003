package web

import (
	"context"
	"net"
	"net/http"
	"strings"

	"github.com/grpc-ecosystem/grpc-gateway/v2/runtime"
	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/encoding/protojson"

	"github.com/atlas-relay/atlas-relay/pkg/tlsfiles"
	"github.com/atlas-relay/atlas-relay/services/stats/internal/access"
	"github.com/atlas-relay/atlas-relay/services/stats/internal/api"
)

// newTranslator turns JSON into gRPC and back. Names are those of the proto, as relayctl -o json prints them.
func newTranslator(caller *caller) *runtime.ServeMux {
	return runtime.NewServeMux(
		runtime.WithMarshalerOption(runtime.MIMEWildcard, marshaler()),
		runtime.WithMetadata(func(_ context.Context, r *http.Request) metadata.MD { return caller.provenance(r) }),
		// Nothing that a client sends may pass for what provenance says. Authorization is handed on all the same.
		runtime.WithIncomingHeaderMatcher(func(string) (string, bool) { return "", false }),
		runtime.WithOutgoingHeaderMatcher(func(string) (string, bool) { return "", false }),
	)
}

func marshaler() *runtime.JSONPb {
	return &runtime.JSONPb{MarshalOptions: protojson.MarshalOptions{UseProtoNames: true, EmitUnpopulated: true}}
}

// caller judges where requests come from.
type caller struct {
	covers func(host string) bool // whether our certificate is for it; nil without TLS
}

// provenance tells the gRPC server where a request came from.
func (c *caller) provenance(r *http.Request) metadata.MD {
	meta := metadata.Pairs(api.MetadataPeer, r.RemoteAddr)

	if isLoopback(r.RemoteAddr) && !access.HandedOn(r.Header.Get) {
		meta.Set(api.MetadataLocal, "true")
	}

	if !isOurName(r.Host) && !c.isCertified(r) {
		meta.Set(api.MetadataRebound, "true")
	}

	if name := tlsfiles.PeerName(r.TLS); name != "" {
		meta.Set(api.MetadataCertificate, name)
	}

	return meta
}

func isLoopback(addr string) bool {
	host, _, err := net.SplitHostPort(addr)

	return err == nil && net.ParseIP(host).IsLoopback()
}

// isCertified tells whether our certificate is for the host that a browser asked for: it has compared the two.
func (c *caller) isCertified(r *http.Request) bool {
	return r.TLS != nil && c.covers != nil && c.covers(hostOf(r.Host))
}

// isOurName tells whether the host that a browser asked for cannot be a name that somebody else made point at us: an
// address, localhost, or the name of a container or host without a domain.
func isOurName(hostport string) bool {
	host := hostOf(hostport)

	return net.ParseIP(host) != nil || !strings.Contains(host, ".") || strings.HasSuffix(host, ".localhost")
}

// hostOf is the host without a port, and an address without its brackets.
func hostOf(hostport string) string {
	host := hostport
	if name, _, err := net.SplitHostPort(hostport); err == nil {
		host = name
	}

	return strings.Trim(host, "[]")
}

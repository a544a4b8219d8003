package api

import (
	"context"
	"net"
	"strings"

	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/peer"

	"github.com/atlas-relay/atlas-relay/pkg/settings"
	"github.com/atlas-relay/atlas-relay/pkg/tlsfiles"
	relayv1 "github.com/atlas-relay/atlas-relay/proto/relay/v1"
	"github.com/atlas-relay/atlas-relay/services/stats/internal/access"
)

// Metadata by which the HTTP side tells where a request came from. It counts on the connection within this process only:
// nobody else can open that.
const (
	MetadataPeer    = "relay-peer"    // address
	MetadataLocal   = "relay-local"   // "true"; see access.Caller
	MetadataRebound = "relay-rebound" // "true"; see access.Caller
	// MetadataCertificate is the name of the verified client certificate. -bin: names have more than ASCII.
	MetadataCertificate = "relay-certificate-bin"
)

// needs is the role that a method asks for. What is not known asks for the highest. GetDeadLetter asks for a higher one
// itself where it is to answer contents of documents.
func needs(method string) access.Role {
	switch method {
	case relayv1.StatsService_GetStats_FullMethodName, relayv1.StatsService_WatchStats_FullMethodName,
		relayv1.StatsService_ListGaps_FullMethodName, relayv1.StatsService_ListFlows_FullMethodName,
		relayv1.StatsService_GetTimeline_FullMethodName, relayv1.StatsService_ListAuditRecords_FullMethodName,
		relayv1.StatsService_ListPartitions_FullMethodName, relayv1.StatsService_ListInstances_FullMethodName,
		relayv1.DeadLetterService_ListDeadLetters_FullMethodName, relayv1.DeadLetterService_GetDeadLetter_FullMethodName,
		relayv1.DeadLetterService_ListDeadLetterGroups_FullMethodName, relayv1.DeadLetterService_GetDeadLetterOperation_FullMethodName,
		relayv1.FlowService_GetFlow_FullMethodName:
		return access.Viewer
	}

	switch {
	case strings.HasPrefix(method, "/"+grpc_health_v1.Health_ServiceDesc.ServiceName+"/"):
		return access.Nobody // probes have no token
	case strings.HasPrefix(method, "/grpc.reflection."):
		return access.Viewer // who may ask nothing has no use for what could be asked
	}

	return access.Operator
}

func callerOf(ctx context.Context) access.Caller {
	meta, _ := metadata.FromIncomingContext(ctx)
	caller := access.Caller{Addr: "an unknown address", Token: settings.NewSecret(bearer(first(meta, "authorization")))}

	p, ok := peer.FromContext(ctx)
	if !ok {
		return caller
	}

	if isInside(ctx) {
		caller.Addr = first(meta, MetadataPeer)
		caller.Local = first(meta, MetadataLocal) == "true"
		caller.Rebound = first(meta, MetadataRebound) == "true"
		caller.Certificate = first(meta, MetadataCertificate)

		return caller
	}

	if info, ok := p.AuthInfo.(credentials.TLSInfo); ok {
		caller.Certificate = tlsfiles.PeerName(&info.State)
	}

	caller.Addr = p.Addr.String()
	if tcp, ok := p.Addr.(*net.TCPAddr); ok {
		caller.Local = tcp.IP.IsLoopback() && !access.HandedOn(func(name string) string { return first(meta, name) })
	}

	return caller
}

func first(meta metadata.MD, key string) string {
	if values := meta.Get(key); len(values) > 0 {
		return values[0]
	}

	return ""
}

// bearer returns the token of "Bearer <token>"; anything else is a token that nobody has.
func bearer(authorization string) string {
	if scheme, token, found := strings.Cut(authorization, " "); found && strings.EqualFold(scheme, "bearer") {
		return strings.TrimSpace(token)
	}

	return authorization
}

package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"io"
	"net/http"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.mongodb.org/mongo-driver/v2/bson"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/atlas-relay/atlas-relay/pkg/mongotest"
	"github.com/atlas-relay/atlas-relay/pkg/natstest"
	"github.com/atlas-relay/atlas-relay/pkg/tlstest"
	relayv1 "github.com/atlas-relay/atlas-relay/proto/relay/v1"
)

const patience = time.Minute

// secured is a whole stats service with TLS, and clients of it.
type secured struct {
	t                *testing.T
	dir, flow        string
	servers, clients *tlstest.Authority

	grpcAddr, url, opsAddr string
}

func startSecured(t *testing.T) *secured {
	t.Helper()

	s := &secured{
		t: t, dir: t.TempDir(), servers: tlstest.NewAuthority(t, "servers"), clients: tlstest.NewAuthority(t, "clients"),
		grpcAddr: freeAddr(t), opsAddr: freeAddr(t),
	}
	httpAddr := freeAddr(t)
	s.url = "https://" + httpAddr
	cert, key := s.servers.Issue(t, tlstest.Wanted{Hosts: []string{"127.0.0.1", "relay.example.net"}}).Write(t, s.dir, "server")

	environ := map[string]string{
		"FLOW": "f-" + bson.NewObjectID().Hex(), "NATS_URL": natstest.New(t).URL(), "TARGET_URI": mongotest.Shared(t).URI().Reveal(),
		"GRPC_ADDR": s.grpcAddr, "HTTP_ADDR": httpAddr, "OPS_ADDR": s.opsAddr, "LOG_LEVEL": "error", "API_CERT": cert, "API_KEY": key,
		"API_CLIENT_CA":   tlstest.Write(t, s.dir, "clients.pem", s.clients.PEM()),
		"API_TOKENS_FILE": tlstest.Write(t, s.dir, "tokens", []byte("cert:ann operator\ncert:Grafana Ägir viewer\nbob viewer 0123456789abcdef\n")),
	}
	s.flow = environ["FLOW"]

	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)

	go func() { done <- realMain(ctx, nil, environ) }()

	t.Cleanup(func() {
		cancel()
		require.NoError(t, <-done)
	})

	return s
}

// trust is the configuration of a client that shows a certificate of this name, whomever the server asks for; none for an
// empty one.
func (s *secured) trust(name string) *tls.Config {
	config := &tls.Config{MinVersion: tls.VersionTLS13, RootCAs: s.servers.Pool()}
	if name != "" {
		own := s.clients.Issue(s.t, tlstest.Wanted{CommonName: name}).Certificate(s.t)
		config.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &own, nil }
	}

	return config
}

func (s *secured) dial(name string) *grpc.ClientConn {
	s.t.Helper()

	conn, err := grpc.NewClient(s.grpcAddr, grpc.WithTransportCredentials(credentials.NewTLS(s.trust(name))))
	require.NoError(s.t, err)
	s.t.Cleanup(func() { _ = conn.Close() })

	return conn
}

// serial is of the certificate that the server shows at this address now; empty while nobody answers.
func (s *secured) serial(addr string) string {
	config := s.trust("")
	config.InsecureSkipVerify = true // also one of another authority

	conn, err := tls.Dial("tcp", addr, config)
	if err != nil {
		return ""
	}
	defer conn.Close()

	return conn.ConnectionState().PeerCertificates[0].SerialNumber.String()
}

func (s *secured) client(name string) *http.Client {
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: s.trust(name), ForceAttemptHTTP2: true}}
	s.t.Cleanup(client.CloseIdleConnections)

	return client
}

func (s *secured) request(client *http.Client, method, path, host, body string) (int, http.Header, string) {
	s.t.Helper()

	request, err := http.NewRequestWithContext(s.t.Context(), method, s.url+path, bytes.NewBufferString(body))
	require.NoError(s.t, err)

	if host != "" {
		request.Host = host
	}

	response, err := client.Do(request)
	require.NoError(s.t, err)

	defer response.Body.Close()

	content, err := io.ReadAll(response.Body)
	require.NoError(s.t, err)

	return response.StatusCode, response.Header, string(content)
}

// replay asks for something that operators alone may.
func replay(t *testing.T, conn *grpc.ClientConn) error {
	t.Helper()

	_, err := relayv1.NewDeadLetterServiceClient(conn).ReplayDeadLetters(t.Context(), &relayv1.ReplayDeadLettersRequest{
		RequestedBy: "a test", Selection: &relayv1.DeadLetterSelection{Selection: &relayv1.DeadLetterSelection_Filter{Filter: new(relayv1.DeadLetterFilter)}},
	}, grpc.WaitForReady(true))

	return err
}

// TestCertificatesOfClients: each is who its certificate says, over gRPC and HTTP alike, and the audit has the name.
func TestCertificatesOfClients(t *testing.T) {
	t.Parallel()

	s := startSecured(t)

	ann, grafana, unknown, nobody := s.dial("ann"), s.dial("Grafana Ägir"), s.dial("eve"), s.dial("")
	require.NoError(t, replay(t, ann))

	err := replay(t, grafana)
	require.Equal(t, codes.PermissionDenied, status.Code(err))
	require.ErrorContains(t, err, `the client certificate "Grafana Ägir" has viewer`)

	err = replay(t, unknown)
	require.Equal(t, codes.PermissionDenied, status.Code(err), "%v", err)
	require.Equal(t, codes.Unauthenticated, status.Code(replay(t, nobody)))

	_, err = relayv1.NewStatsServiceClient(nobody).ListFlows(t.Context(), new(relayv1.ListFlowsRequest))
	require.NoError(t, err, "from this host everybody may read")

	path, body := "/v1/flows/"+s.flow+"/deadLetters:replay", `{"requested_by":"x","selection":{"filter":{}}}`

	code, _, text := s.request(s.client("ann"), http.MethodPost, path, "", body)
	require.Equal(t, http.StatusOK, code, text)
	code, _, text = s.request(s.client("Grafana Ägir"), http.MethodPost, path, "", body)
	require.Equal(t, http.StatusForbidden, code)
	require.Contains(t, text, "Grafana Ägir")
	code, _, _ = s.request(s.client(""), http.MethodPost, path, "", body)
	require.Equal(t, http.StatusUnauthorized, code)

	records, err := relayv1.NewStatsServiceClient(ann).ListAuditRecords(t.Context(), new(relayv1.ListAuditRecordsRequest))
	require.NoError(t, err)
	require.Len(t, records.GetRecords(), 2)

	for _, record := range records.GetRecords() {
		require.Contains(t, record.GetWho(), "(certificate ann) from 127.0.0.1:")
	}
}

// TestThePageOverTLS: HTTP/2, headers that a browser needs, and no hint of HSTS for this host's own names.
func TestThePageOverTLS(t *testing.T) {
	t.Parallel()

	s := startSecured(t)
	require.Eventually(t, func() bool { return s.serial(s.url[len("https://"):]) != "" }, patience, 20*time.Millisecond)

	client := s.client("")
	const hsts = "Strict-Transport-Security"

	for _, host := range []string{"", "localhost", "[::1]:8080", "relay.localhost"} {
		code, header, text := s.request(client, http.MethodGet, "/", host, "")
		require.Equal(t, http.StatusOK, code)
		require.Empty(t, header.Get(hsts), host)
		require.Contains(t, header.Get("Content-Security-Policy"), "default-src 'none'")
		require.Contains(t, text, "<html")
	}

	_, header, _ := s.request(client, http.MethodGet, "/", "relay.example.net", "")
	require.Equal(t, "max-age=31536000", header.Get(hsts))

	// A name that the certificate has cannot be somebody else's.
	code, _, text := s.request(client, http.MethodGet, "/v1/flows", "relay.example.net", "")
	require.Equal(t, http.StatusOK, code)
	require.True(t, json.Valid([]byte(text)))
	code, _, _ = s.request(client, http.MethodGet, "/v1/flows", "evil.example.net", "")
	require.Equal(t, http.StatusUnauthorized, code)

	code, _, _ = s.request(s.client("ann"), http.MethodGet, "/v1/flows", "evil.example.net", "")
	require.Equal(t, http.StatusUnauthorized, code, "a certificate counts for our own names only")

	// What else there is works as without.
	require.NoError(t, realMain(t.Context(), []string{"healthcheck"}, map[string]string{
		"OPS_ADDR": s.opsAddr, "API_CERT": filepath.Join(s.dir, "server.pem"), "API_KEY": filepath.Join(s.dir, "server.key"),
	}))
}

// TestANewCertificateCutsNobodyOff: a watch goes on, new connections see the new one, and both ports do.
func TestANewCertificateCutsNobodyOff(t *testing.T) {
	t.Parallel()

	s := startSecured(t)
	httpAddr := s.url[len("https://"):]

	watch, err := relayv1.NewStatsServiceClient(s.dial("ann")).WatchStats(t.Context(), &relayv1.WatchStatsRequest{
		Interval: durationpb.New(200 * time.Millisecond),
	}, grpc.WaitForReady(true))
	require.NoError(t, err)
	_, err = watch.Recv()
	require.NoError(t, err)

	require.Eventually(t, func() bool { return s.serial(httpAddr) != "" }, patience, 20*time.Millisecond)
	before := s.serial(s.grpcAddr)
	require.Equal(t, before, s.serial(httpAddr))

	next := s.servers.Issue(t, tlstest.Wanted{})
	next.Write(t, s.dir, "server")

	want := next.Certificate(t).Leaf.SerialNumber.String()
	require.Eventually(t, func() bool { return s.serial(s.grpcAddr) == want && s.serial(httpAddr) == want }, patience, 20*time.Millisecond)

	for range 3 {
		_, err = watch.Recv()
		require.NoError(t, err)
	}

	// A file that cannot be used changes nothing, and the metrics say so.
	tlstest.Write(t, s.dir, "server.key", s.servers.Issue(t, tlstest.Wanted{}).Key)
	require.Eventually(t, func() bool {
		return bytes.Contains([]byte(get(t, "http://"+s.opsAddr+"/metrics")), []byte(`relay_certificate_rejected{setting="API_CERT"} 1`))
	}, patience, 20*time.Millisecond)
	require.Equal(t, want, s.serial(s.grpcAddr))
	http.DefaultClient.CloseIdleConnections()

	// And clients of an authority that is no longer trusted are refused at once.
	next.Write(t, s.dir, "server")
	tlstest.Write(t, s.dir, "clients.pem", tlstest.NewAuthority(t, "others").PEM())
	require.Eventually(t, func() bool {
		conn := s.dial("ann")
		defer conn.Close()

		_, err := relayv1.NewStatsServiceClient(conn).ListFlows(t.Context(), new(relayv1.ListFlowsRequest))

		return status.Code(err) == codes.Unavailable
	}, patience, 20*time.Millisecond)
}

func TestTLSKnowsItsServer(t *testing.T) {
	t.Parallel()

	s := startSecured(t)
	require.Eventually(t, func() bool { return s.serial(s.grpcAddr) != "" }, patience, 20*time.Millisecond)

	_, err := tls.Dial("tcp", s.grpcAddr, &tls.Config{MinVersion: tls.VersionTLS13, RootCAs: s.clients.Pool()})
	require.ErrorAs(t, err, new(x509.UnknownAuthorityError))
}

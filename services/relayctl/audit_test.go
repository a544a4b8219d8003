package main

import (
	"context"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/timestamppb"

	relayv1 "github.com/atlas-relay/atlas-relay/proto/relay/v1"
)

const testToken = "0123456789abcdef"

// ListAuditRecords answers two pages, to those who show the token.
func (*service) ListAuditRecords(ctx context.Context, request *relayv1.ListAuditRecordsRequest) (*relayv1.ListAuditRecordsResponse, error) {
	meta, _ := metadata.FromIncomingContext(ctx)
	if got := meta.Get("authorization"); len(got) != 1 || got[0] != "Bearer "+testToken {
		return nil, status.Error(codes.Unauthenticated, "a token is needed")
	}

	at := timestamppb.New(time.Date(2026, 11, 25, 12, 0, 0, 0, time.UTC))

	if request.GetPageToken() == "" {
		return &relayv1.ListAuditRecordsResponse{NextPageToken: "next", Records: []*relayv1.AuditRecord{{
			Name: "f/2", Action: "dead-letters discard", Who: "ann (token ann) from 192.0.2.1:5000", Why: "gone\x1b[31m", Time: at,
			Selection: "all with namespace shop.orders", Changed: new(uint64(3)), Refused: new(uint64(1)), FailedBecause: "the target went away",
		}}}, nil
	}

	return &relayv1.ListAuditRecordsResponse{Records: []*relayv1.AuditRecord{{
		Name: "f/1", Action: "dead-letters replay", Who: "bob from 127.0.0.1:5001", Time: at, Selection: "f/s/0/0/1",
	}}}, nil
}

func TestAudit(t *testing.T) {
	t.Parallel()

	environ := []string{"RELAY_STATS_ADDR=" + serve(t, new(service)), "TZ=UTC"}

	r := relayctl(t, append(environ, "API_TOKEN="+testToken), "audit")
	require.Zero(t, r.code, r.errOut)
	requireGolden(t, "audit", r.out)

	r = relayctl(t, append(environ, "API_TOKEN="+testToken), "audit", "--limit", "1", "-o", "json")
	require.Zero(t, r.code, r.errOut)
	require.Contains(t, r.out, `"next_page_token": "next"`)
	require.NotContains(t, r.out, "f/1")
}

func TestToken(t *testing.T) {
	t.Parallel()

	file := filepath.Join(t.TempDir(), "token")
	require.NoError(t, os.WriteFile(file, []byte(testToken+"\n"), 0o600))

	environ := []string{"RELAY_STATS_ADDR=" + serve(t, new(service))}

	for name, test := range map[string]struct {
		environ []string
		code    int
		says    string
	}{
		"file":    {[]string{"API_TOKEN_FILE=" + file}, 0, ""},
		"none":    {nil, 2, "a token is needed"},
		"wrong":   {[]string{"API_TOKEN=another"}, 2, "a token is needed"},
		"both":    {[]string{"API_TOKEN=another", "API_TOKEN_FILE=" + file}, 2, "keep one of the two"},
		"no file": {[]string{"API_TOKEN_FILE=" + file + "x"}, 2, "API_TOKEN_FILE"},
	} {
		r := relayctl(t, append(environ, test.environ...), "audit")
		require.Equal(t, test.code, r.code, "%s: %s", name, r.errOut)
		require.Contains(t, r.errOut, test.says, name)
		require.NotContains(t, r.errOut, testToken, name)
	}
}

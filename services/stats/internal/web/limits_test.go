package web_test

import (
	"context"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// TestWatchesLeaveRoomForQuestions: those of the page and those of JSON count together, and when there are as many as may
// be everything else is still answered.
func TestWatchesLeaveRoomForQuestions(t *testing.T) {
	t.Parallel()

	s := open(t, loopback())

	ctx, leave := context.WithCancel(t.Context())
	defer leave()

	watch := func(path string) {
		t.Helper()

		request, err := http.NewRequestWithContext(ctx, http.MethodGet, s.url+path, http.NoBody)
		require.NoError(t, err)

		response, err := s.client.Do(request)
		require.NoError(t, err)
		t.Cleanup(func() { _ = response.Body.Close() })
		require.Equal(t, http.StatusOK, response.StatusCode)

		_, err = response.Body.Read(make([]byte, 1))
		require.NoError(t, err)
	}

	const most = 50

	for i := range most {
		watch([]string{"/v1/flows/a/stats:watch", "/v1/flows/a/events"}[i%2])
	}

	for _, path := range []string{"/v1/flows/a/stats:watch", "/v1/flows/a/events"} {
		refused := s.json(http.StatusTooManyRequests, http.MethodGet, path, "")
		require.Contains(t, marshal(t, refused), "TOO_MANY_WATCHES")
		require.Contains(t, marshal(t, refused), "remedy")
	}

	s.json(http.StatusOK, http.MethodGet, "/v1/flows/a/stats", "")
	leave()
	require.Eventually(t, func() bool {
		response, err := s.client.Do(s.request(http.MethodGet, "/v1/flows/a/events", ""))
		if err != nil {
			return false
		}

		return response.Body.Close() == nil && response.StatusCode == http.StatusOK
	}, time.Minute, 20*time.Millisecond, "the places of those who left are free")
}

// TestRequestsThatDoNotEnd: nobody holds a connection by sending a request for ever, and what is too large is refused.
func TestRequestsThatDoNotEnd(t *testing.T) {
	t.Parallel()

	s := open(t, loopback())

	conn, err := new(net.Dialer).DialContext(t.Context(), "tcp", strings.TrimPrefix(s.url, "http://"))
	require.NoError(t, err)

	defer conn.Close()

	_, err = io.WriteString(conn, "POST /v1/flows/a/deadLetters:discard HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\n{")
	require.NoError(t, err)

	answer, err := io.ReadAll(conn) // to the end of the connection
	require.NoError(t, err)
	require.Contains(t, string(answer), "400 Bad Request")
	require.Contains(t, string(answer), "did not arrive whole within 10s")

	large := s.json(http.StatusBadRequest, http.MethodPost, "/v1/flows/a/deadLetters:discard", strings.Repeat(" ", 1<<20+1))
	require.Contains(t, large["message"], "larger than 1048576 bytes")
}

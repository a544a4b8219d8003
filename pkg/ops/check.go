package ops

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"strings"
	"time"
)

const checkTimeout = 3 * time.Second

// Check asks the ops server at addr (as in OPS_ADDR) on this host whether it is ready, and returns an error with its
// reasons when it is not. It is the health check of images that have no shell.
func Check(ctx context.Context, addr string) error {
	ctx, cancel := context.WithTimeout(ctx, checkTimeout)
	defer cancel()

	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		return fmt.Errorf("read OPS_ADDR: %w", err)
	}

	if ip := net.ParseIP(host); host == "" || ip.IsUnspecified() {
		host = "127.0.0.1"
	}

	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+net.JoinHostPort(host, port)+"/readyz", nil)
	if err != nil {
		return fmt.Errorf("ask for readiness: %w", err)
	}

	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}} // one question, nothing to keep open

	response, err := client.Do(request)
	if err != nil {
		return fmt.Errorf("ask for readiness: %w", err)
	}
	defer response.Body.Close()

	if response.StatusCode == http.StatusOK {
		return nil
	}

	var body report
	if err := json.NewDecoder(response.Body).Decode(&body); err != nil {
		return fmt.Errorf("readiness answered %s", response.Status)
	}

	reasons := make([]string, len(body.Reasons))
	for i, reason := range body.Reasons {
		reasons[i] = reason.Part + ": " + reason.Reason
	}

	return fmt.Errorf("%s: %s", body.Status, strings.Join(reasons, "; "))
}

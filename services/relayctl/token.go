package main

import (
	"context"
	"fmt"
	"os"
	"strings"

	"github.com/atlas-relay/atlas-relay/pkg/settings"
)

// Variables that hold the token for the stats service, or the path of a file with it. A flag would show it to everybody
// who lists the processes.
const (
	tokenVariable     = "API_TOKEN"
	tokenFileVariable = "API_TOKEN_FILE" //nolint:gosec // a name, no secret
)

// bearer shows the stats service a token with every question. Empty, it shows nothing.
type bearer struct{ token settings.Secret }

// newBearer reads the token that the environment names.
func newBearer(environ map[string]string) (bearer, error) {
	token, path := environ[tokenVariable], environ[tokenFileVariable]

	switch {
	case path == "":
		return bearer{settings.NewSecret(token)}, nil
	case token != "":
		return bearer{}, &refusedError{what: tokenFileVariable + " is set beside " + tokenVariable, next: "keep one of the two"}
	}

	content, err := os.ReadFile(path) //nolint:gosec // who runs the program names its files
	if err != nil {
		return bearer{}, &refusedError{what: fmt.Sprintf("read %s: %v", tokenFileVariable, err), next: "check the path and its permissions"}
	}

	return bearer{settings.NewSecret(strings.TrimSpace(string(content)))}, nil
}

// GetRequestMetadata implements credentials.PerRPCCredentials.
func (b bearer) GetRequestMetadata(context.Context, ...string) (map[string]string, error) {
	if b.token.IsZero() {
		return nil, nil
	}

	return map[string]string{"authorization": "Bearer " + b.token.Reveal()}, nil
}

// RequireTransportSecurity implements credentials.PerRPCCredentials. The way to the stats service may be without TLS: the
// loopback, a tunnel, or a network of the operators.
func (bearer) RequireTransportSecurity() bool { return false }

package harness

import (
	"fmt"

	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/atlas-relay/atlas-relay/pkg/tlsfiles"
)

// security is how the statistics are asked.
type security struct {
	credentials credentials.TransportCredentials
	scheme      string // of the page
}

func securityOf(env map[string]string) (security, error) {
	path := env["STATS_CA"]
	if path == "" {
		return security{insecure.NewCredentials(), "http"}, nil
	}

	store, err := tlsfiles.Open(tlsfiles.Files{CA: tlsfiles.File{Setting: "STATS_CA", Path: path}})
	if err != nil {
		return security{}, fmt.Errorf("ask the statistics over TLS: %w", err)
	}

	return security{credentials.NewTLS(store.Client("")), "https"}, nil
}

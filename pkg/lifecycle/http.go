package lifecycle

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"time"
)

// ServeHTTP answers on the listener until ctx ends; what is under way then gets so long to end, and is cut off. What names
// the server in errors. It closes the listener.
func ServeHTTP(ctx context.Context, what string, server *http.Server, listener net.Listener, grace time.Duration) error {
	served := make(chan error, 1)
	go func() { served <- server.Serve(listener) }()

	select {
	case err := <-served:
		return fmt.Errorf("serve %s on %s: %w", what, listener.Addr(), err)
	case <-ctx.Done():
	}

	bounded, cancel := context.WithTimeout(context.WithoutCancel(ctx), grace)
	defer cancel()

	err := server.Shutdown(bounded)
	if errors.Is(err, context.DeadlineExceeded) {
		err = server.Close()
	}

	if ended := <-served; !errors.Is(ended, http.ErrServerClosed) {
		err = errors.Join(err, ended)
	}

	if err != nil {
		return fmt.Errorf("stop serving %s: %w", what, err)
	}

	return nil
}

package lifecycle

import (
	"context"
	"os"
	"os/signal"
	"syscall"
)

// Signals returns a context that ends with the first SIGINT or SIGTERM; call the function when the process is done with
// it. The second signal ends the process at once, by the system's own rule: nothing waits for a drain that the
// operator gave up on. That rule holds again before the context ends, so no signal gets lost in between
// (signal.NotifyContext and a call of its stop function afterwards would lose it).
func Signals(ctx context.Context) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(ctx)
	received := make(chan os.Signal, 1) // written by package signal
	ended := make(chan struct{})        // closed when the goroutine below ends

	signal.Notify(received, syscall.SIGINT, syscall.SIGTERM)

	go func() {
		defer close(ended)

		select {
		case <-received:
		case <-ctx.Done():
		}

		signal.Stop(received)
		cancel()
	}()

	return ctx, func() {
		cancel()
		<-ended
	}
}

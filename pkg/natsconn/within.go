package natsconn

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"strings"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/atlas-relay/atlas-relay/pkg/settings"
)

// ConnectWithin is Connect that gives up when ctx ends: nats.go asks one address after the other, and waits for each as
// long as for a single one. Here they share the time that is left, so that servers which take a connection and stay
// silent do not hide one that answers. Once connected, the end of ctx means nothing to the connection.
func ConnectWithin(ctx context.Context, at settings.NATS, o Options, log *slog.Logger) (*nats.Conn, error) {
	addresses := 1 + strings.Count(at.URL.Reveal(), ",")

	share := connectTimeout
	if deadline, ok := ctx.Deadline(); ok {
		share = max(min(share, time.Until(deadline)/time.Duration(addresses)), time.Millisecond)
	}

	var connected atomic.Bool

	dial := dialFunc(func(network, address string) (net.Conn, error) {
		dialer := &net.Dialer{Timeout: share}
		if connected.Load() {
			return dialer.DialContext(context.WithoutCancel(ctx), network, address)
		}

		conn, err := dialer.DialContext(ctx, network, address)
		if err != nil {
			return nil, fmt.Errorf("dial %s: %w", address, err)
		}

		context.AfterFunc(ctx, func() {
			if !connected.Load() {
				_ = conn.Close() // ends the wait for its first word
			}
		})

		return conn, nil
	})

	nc, err := connect(at, o, log, nats.Timeout(share), nats.SetCustomDialer(dial))
	if err != nil {
		return nil, errors.Join(err, ctx.Err())
	}

	connected.Store(true)

	return nc, nil
}

type dialFunc func(network, address string) (net.Conn, error)

// Dial implements nats.CustomDialer.
func (f dialFunc) Dial(network, address string) (net.Conn, error) { return f(network, address) }

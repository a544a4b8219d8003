// Package natsconn connects to NATS the way every process of a flow must: for ever, and without a buffer that would
// publish, after a reconnect, what the caller believes lost.
package natsconn

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/atlas-relay/atlas-relay/pkg/settings"
)

// ErrClosed says that a connection ended for good: closed by us, or refused again and again for its credentials.
var ErrClosed = errors.New("nats connection closed")

// errURL says that NATS_URL cannot be read. settings.NATS refuses such a one at the start.
var errURL = errors.New("the URL cannot be read")

const (
	reconnectWait   = 250 * time.Millisecond
	reconnectJitter = 250 * time.Millisecond
	connectTimeout  = 5 * time.Second
	pingInterval    = 5 * time.Second // with two missed pings a dead server is noticed after 15 s; nats.go would take 6 min
)

// Options says how to connect.
type Options struct {
	// Name is shown in the server's connection list.
	Name string
	// Wait returns a connection even while no server can be reached; it connects as soon as one can. Without it a server
	// that is away is an error, which is what a command line wants.
	Wait bool
	// Inbox begins the subjects of replies to us, such as those of pkg/topology; empty: _INBOX. A server that gives each
	// role its own lets nobody read another's.
	Inbox string
}

// Connect opens a connection that reconnects for ever, publishes nothing late (a publish while disconnected fails with
// nats.ErrReconnectBufExceeded) and does not receive its own messages. The caller must Close it and run Watch.
func Connect(at settings.NATS, o Options, log *slog.Logger) (*nats.Conn, error) {
	return connect(at, o, log)
}

func connect(at settings.NATS, o Options, log *slog.Logger, more ...nats.Option) (*nats.Conn, error) {
	options := []nats.Option{
		nats.Name(o.Name),
		nats.Timeout(connectTimeout),
		nats.MaxReconnects(-1),
		nats.ReconnectWait(reconnectWait),
		nats.ReconnectJitter(reconnectJitter, reconnectJitter),
		nats.ReconnectBufSize(-1),
		nats.RetryOnFailedConnect(o.Wait),
		nats.PingInterval(pingInterval),
		nats.NoEcho(),
		nats.CustomInboxPrefix(cmp.Or(o.Inbox, "_INBOX")),
		nats.ErrorHandler(func(_ *nats.Conn, sub *nats.Subscription, err error) {
			attrs := []any{slog.Any("error", err)}
			if sub != nil {
				attrs = append(attrs, slog.String("subject", sub.Subject))
			}

			log.Warn("nats reported an error", attrs...)
		}),
		nats.DisconnectErrHandler(func(_ *nats.Conn, err error) {
			log.Warn("nats disconnected", slog.Any("error", err))
		}),
		nats.ReconnectHandler(func(nc *nats.Conn) {
			log.Info("nats reconnected", slog.String("server", nc.ConnectedServerName()))
		}),
	}

	identity, err := credentials(at, log)
	if err != nil {
		return nil, err
	}

	nc, err := nats.Connect(at.URL.Reveal(), append(append(options, identity...), more...)...)
	if errors.As(err, new(*url.Error)) {
		err = errURL // the error quotes the URL, password and all
	}

	if err != nil {
		return nil, fmt.Errorf("connect to NATS at %s: %w", at.URL, err)
	}

	return nc, nil
}

func credentials(at settings.NATS, log *slog.Logger) ([]nats.Option, error) {
	var options []nats.Option
	if at.Creds != "" {
		shown, err := identity(at.Creds)
		if err != nil {
			return nil, err
		}

		options = append(options, shown)
	}

	secured, err := secure(Files(at), log)
	if err != nil {
		return nil, err
	}

	return append(options, secured...), nil
}

// Watch blocks until ctx ends (nil) or the connection is closed for good (ErrClosed with the cause). nats.go gives up
// on a connection whose credentials were refused twice; a process that did not notice would wait for ever.
func Watch(ctx context.Context, nc *nats.Conn) error {
	closed := nc.StatusChanged(nats.CLOSED)
	defer nc.RemoveStatusListener(closed)

	if !nc.IsClosed() {
		select {
		case <-ctx.Done():
			return nil
		case <-closed:
		}
	}

	if ctx.Err() != nil {
		return nil
	}

	if err := nc.LastError(); err != nil {
		return fmt.Errorf("%w: %w", ErrClosed, err)
	}

	return ErrClosed
}

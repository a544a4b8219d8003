package flow

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/atlas-relay/atlas-relay/pkg/natsconn"
	"github.com/atlas-relay/atlas-relay/pkg/retry"
	"github.com/atlas-relay/atlas-relay/pkg/topology"
)

// requestTimeout bounds one request to a server, firstTimeout the first one.
const (
	requestTimeout = 5 * time.Second
	firstTimeout   = 2 * time.Second
)

// connectNATS returns a connection to a server with JetStream. It waits for the
// server until ctx ends, but not for better credentials. The caller closes.
func connectNATS(ctx context.Context, c *Connection, log *slog.Logger) (*nats.Conn, jetstream.JetStream, error) {
	var (
		nc *nats.Conn
		js jetstream.JetStream
	)

	err := await(ctx, func(ctx context.Context) error {
		var err error

		nc, js, err = openNATS(ctx, c, log)
		if err == nil {
			return nil
		}

		err = natsTrouble(c.NATS.URL, err)
		if errors.As(err, new(*RefusedError)) {
			return retry.Permanent(err)
		}

		return err
	})

	return nc, js, err
}

func openNATS(ctx context.Context, c *Connection, log *slog.Logger) (*nats.Conn, jetstream.JetStream, error) {
	nc, err := natsconn.ConnectWithin(ctx, c.NATS, natsconn.Options{Name: "relayctl", Inbox: topology.OperatorInbox(c.Flow)}, log)
	if err != nil {
		return nil, nil, err
	}

	js, err := jetstream.New(nc)
	if err == nil {
		ctx, cancel := context.WithTimeout(ctx, requestTimeout)
		defer cancel()

		_, err = js.AccountInfo(ctx)
	}

	if err != nil {
		nc.Close()

		return nil, nil, fmt.Errorf("ask JetStream for its limits: %w", err)
	}

	return nc, js, nil
}

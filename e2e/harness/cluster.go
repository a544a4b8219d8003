package harness

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// Cluster is several NATS servers that hold replicated streams.
type Cluster []*NATS

// clusterStart bounds the servers' agreement on a leader.
const clusterStart = time.Minute

// StartCluster runs servers with their files and logs in dir and waits until they take requests. The caller must Stop
// them.
func StartCluster(ctx context.Context, programs Programs, dir string, size int) (c Cluster, err error) {
	addrs, err := freeAddrs(ctx, 2*size)
	if err != nil {
		return nil, err
	}

	clients, routes := addrs[:size], addrs[size:]

	for i := range size {
		_, port, err := net.SplitHostPort(routes[i])
		if err != nil {
			return nil, errors.Join(err, c.Stop(ctx))
		}

		name := "nats-" + strconv.Itoa(i+1)

		n, err := startNATS(ctx, programs, dir, name, clients[i], nil, nil, "-name", name, "-cluster-port", port, "-routes", strings.Join(routes, ","))
		if err != nil {
			return nil, errors.Join(err, c.Stop(ctx))
		}

		c = append(c, n)
	}

	if err := c.awaitLeader(ctx); err != nil {
		return nil, errors.Join(err, c.Stop(ctx))
	}

	return c, nil
}

// freeAddrs are different.
func freeAddrs(ctx context.Context, n int) ([]string, error) {
	var addrs []string

	for len(addrs) < n {
		addr, err := FreeAddr(ctx)
		if err != nil {
			return nil, err
		}

		if !slices.Contains(addrs, addr) {
			addrs = append(addrs, addr)
		}
	}

	return addrs, nil
}

func (c Cluster) awaitLeader(ctx context.Context) error {
	nc, js, err := c.JetStream()
	if err != nil {
		return err
	}
	defer nc.Close()

	ctx, cancel := context.WithTimeout(ctx, clusterStart)
	defer cancel()

	err = Await(ctx, natsRetry, func(ctx context.Context) (bool, error) {
		// Without a leader nobody answers.
		ctx, cancel := context.WithTimeout(ctx, time.Second)
		defer cancel()

		_, err := js.AccountInfo(ctx)

		return err == nil, nil
	})
	if err != nil {
		return fmt.Errorf("wait for the leader of the NATS cluster: %w", err)
	}

	return nil
}

// URL names all servers.
func (c Cluster) URL() string {
	urls := make([]string, len(c))
	for i, n := range c {
		urls[i] = n.URL()
	}

	return strings.Join(urls, ",")
}

// JetStream connects to any of the servers; the caller closes the connection.
func (c Cluster) JetStream() (*nats.Conn, jetstream.JetStream, error) {
	return connectJetStream(c.URL())
}

// Stop ends all servers.
func (c Cluster) Stop(ctx context.Context) error {
	var errs []error
	for _, n := range c {
		errs = append(errs, n.Stop(ctx))
	}

	return errors.Join(errs...)
}

// Wipe kills the server and removes its streams: the disk was replaced.
func (n *NATS) Wipe() error {
	if err := n.Kill(); err != nil {
		return err
	}

	if err := os.RemoveAll(n.store); err != nil {
		return fmt.Errorf("wipe the store of %s: %w", n.Name, err)
	}

	return nil
}

package harness

import (
	"context"
	"fmt"
	"net"
	"path/filepath"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/atlas-relay/atlas-relay/pkg/topology"
)

const (
	natsStart = 20 * time.Second
	natsRetry = 20 * time.Millisecond
)

// NATS is a NATS server with JetStream on disk, a process like the services.
type NATS struct {
	*Service

	addr  string
	store string        // directory of the streams
	as    []nats.Option // who we are there
}

// StartNATS runs a server with its files and its log in dir and waits until it answers. The caller must Stop it.
func StartNATS(ctx context.Context, programs Programs, dir string) (*NATS, error) {
	addr, err := FreeAddr(ctx)
	if err != nil {
		return nil, err
	}

	return startNATS(ctx, programs, dir, "nats", addr, nil, nil)
}

// StartNATSOn is StartNATS with its files on a disk of its own.
func StartNATSOn(ctx context.Context, disk *Disk, programs Programs, dir string) (*NATS, error) {
	addr, err := FreeAddr(ctx)
	if err != nil {
		return nil, err
	}

	return startNATS(ctx, programs, dir, "nats", addr, disk, nil)
}

// StartSecuredNATS is StartNATS with users and permissions.
func StartSecuredNATS(ctx context.Context, programs Programs, dir string, secured *Secured) (*NATS, error) {
	addr, err := FreeAddr(ctx)
	if err != nil {
		return nil, err
	}

	operator, err := nats.NkeyOptionFromSeed(secured.Seeds["operator"])
	if err != nil {
		return nil, fmt.Errorf("use the operator's key: %w", err)
	}

	n, err := startNATS(ctx, programs, dir, "nats", addr, nil, secured.Env, "-config", secured.Config)
	if err != nil {
		return nil, err
	}

	n.as = []nats.Option{operator, nats.CustomInboxPrefix(topology.OperatorInbox(secured.Flow))}

	return n, nil
}

func startNATS(ctx context.Context, programs Programs, dir, name, addr string, disk *Disk, env map[string]string, more ...string) (*NATS, error) {
	_, port, err := net.SplitHostPort(addr)
	if err != nil {
		return nil, fmt.Errorf("take the port of %s: %w", addr, err)
	}

	store := filepath.Join(dir, name+"-jetstream")
	seen, mounts := store, ""

	if disk != nil {
		store, seen, mounts = disk.Inside(), disk.Dir(), disk.namespace()
	}

	args := append([]string{"-port", port, "-store", store}, more...)
	n := &NATS{Service: newService(name, programs.Path(NATSD), args, env, dir), addr: addr, store: seen}
	n.mounts = mounts

	if err := n.Start(); err != nil {
		return nil, err
	}

	ctx, cancel := context.WithTimeout(ctx, natsStart)
	defer cancel()

	err = Await(ctx, natsRetry, func(ctx context.Context) (bool, error) {
		conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", addr)
		if err == nil {
			_ = conn.Close()
		}

		return err == nil, nil
	})
	if err != nil {
		return nil, fmt.Errorf("start NATS on %s: %w\n%s", addr, err, n.LastWords())
	}

	return n, nil
}

// Store is the directory of the streams.
func (n *NATS) Store() string { return n.store }

// URL is the address for clients; it stays the same across restarts.
func (n *NATS) URL() string { return "nats://" + n.addr }

// JetStream connects, as the operator where there are users; the caller closes the connection.
func (n *NATS) JetStream() (*nats.Conn, jetstream.JetStream, error) {
	return connectJetStream(n.URL(), n.as...)
}

func connectJetStream(url string, as ...nats.Option) (*nats.Conn, jetstream.JetStream, error) {
	nc, err := nats.Connect(url, append(as, nats.MaxReconnects(-1), nats.ReconnectWait(natsRetry))...)
	if err != nil {
		return nil, nil, fmt.Errorf("connect to %s: %w", url, err)
	}

	js, err := jetstream.New(nc)
	if err != nil {
		nc.Close()

		return nil, nil, fmt.Errorf("use JetStream: %w", err)
	}

	return nc, js, nil
}

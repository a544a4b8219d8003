package natstest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// clusterName is the same for every cluster: each has ports of its own.
const clusterName = "natstest"

// Member is a server's place in a cluster. All members name the routes of all.
type Member struct {
	Name   string   // unique in the cluster
	Port   int      // for the other members, on 127.0.0.1
	Routes []string // host:port of every member
}

// join makes the options those of a member.
func (m *Member) join(o *server.Options) {
	o.ServerName = m.Name
	o.NoSystemAccount = false // members find each other's streams through it
	o.Cluster = server.ClusterOpts{Name: clusterName, Host: loopback, Port: m.Port}

	for _, route := range m.Routes {
		o.Routes = append(o.Routes, &url.URL{Scheme: "nats", Host: route})
	}
}

// Cluster is several servers in this process that hold replicated streams.
type Cluster struct {
	Servers []*Server
}

// RunCluster starts a cluster that the caller must end with Shutdown. The options are those of every member.
func RunCluster(size int, o Options) (*Cluster, error) {
	ports, err := freePorts(2 * size)
	if err != nil {
		return nil, err
	}

	routes := make([]string, size)
	for i := range routes {
		routes[i] = net.JoinHostPort(loopback, strconv.Itoa(ports[size+i]))
	}

	c := &Cluster{}

	for i := range size {
		o.Port = ports[i]
		o.Member = &Member{Name: "n" + strconv.Itoa(i+1), Port: ports[size+i], Routes: routes}

		s, err := Run(o)
		if err != nil {
			return nil, errors.Join(err, c.Shutdown())
		}

		c.Servers = append(c.Servers, s)
	}

	return c, nil
}

// freePorts are ports on which nobody listens, below those that the system gives to connections, so that a stopped
// server finds its own again.
func freePorts(n int) ([]int, error) {
	const first, last, attempts = 20_000, 30_000, 1_000

	var ports []int

	for range attempts {
		port := first + rand.IntN(last-first)

		listener, err := net.Listen("tcp", net.JoinHostPort(loopback, strconv.Itoa(port)))
		if err != nil {
			continue
		}
		defer listener.Close() // not before all are found: else one might come twice

		if ports = append(ports, port); len(ports) == n {
			return ports, nil
		}
	}

	return nil, errors.New("no free ports between 20000 and 30000")
}

// URL names all servers.
func (c *Cluster) URL() string {
	urls := make([]string, len(c.Servers))
	for i, s := range c.Servers {
		urls[i] = s.URL()
	}

	return strings.Join(urls, ",")
}

// Shutdown ends all servers for good.
func (c *Cluster) Shutdown() error {
	var errs []error
	for _, s := range c.Servers {
		errs = append(errs, s.Shutdown())
	}

	return errors.Join(errs...)
}

// Name is the server's name in its cluster.
func (s *Server) Name() string { return s.options.Member.Name }

// Wipe stops the server and removes its streams: the disk was replaced.
func (s *Server) Wipe() error {
	s.Stop()

	if err := os.RemoveAll(filepath.Join(s.options.StoreDir, "jetstream")); err != nil {
		return fmt.Errorf("wipe the store: %w", err)
	}

	return nil
}

// stepDown is how a stream's leader is told to give up (JSApiLeaderStepDownRequest of nats-server).
type stepDown struct {
	Placement struct {
		Preferred string `json:"preferred,omitempty"`
	} `json:"placement"`
}

// MoveLeader asks the stream's leader to hand over to the server of this name, or to any if it is empty. The server
// may not follow; look at the stream.
func MoveLeader(ctx context.Context, nc *nats.Conn, stream, to string) error {
	var request stepDown

	request.Placement.Preferred = to

	data, err := json.Marshal(request)
	if err != nil {
		return fmt.Errorf("ask for another leader: %w", err)
	}

	reply, err := nc.RequestWithContext(ctx, "$JS.API.STREAM.LEADER.STEPDOWN."+stream, data)
	if err != nil {
		return fmt.Errorf("ask for another leader: %w", err)
	}

	var answer struct {
		Error *jetstream.APIError `json:"error"`
	}
	if err := json.Unmarshal(reply.Data, &answer); err != nil {
		return fmt.Errorf("ask for another leader: %w", err)
	}

	if answer.Error != nil {
		return fmt.Errorf("ask for another leader: %w", answer.Error)
	}

	return nil
}

// AwaitLeader moves the stream's leader to the server of this name and waits until it is there. When ctx ends, the
// error says what was in the way.
func AwaitLeader(ctx context.Context, js jetstream.JetStream, stream, name string) error {
	return await(ctx, "wait for the leader of "+stream, func(ctx context.Context) error {
		s, err := js.Stream(ctx, stream)
		if err != nil {
			return err //nolint:wrapcheck // wrapped by await
		}

		leader := s.CachedInfo().Cluster.Leader
		if leader == name {
			return nil
		}

		return errors.Join(fmt.Errorf("it is %s", leader), MoveLeader(ctx, js.Conn(), stream, name))
	})
}

// await asks until there is no trouble.
func await(ctx context.Context, what string, ask func(context.Context) error) error {
	for {
		// While there is no leader nobody answers.
		once, cancel := context.WithTimeout(ctx, askTimeout)
		trouble := ask(once)

		cancel()

		if trouble == nil {
			return nil
		}

		select {
		case <-ctx.Done():
			return fmt.Errorf("%s: %w", what, trouble)
		case <-time.After(awaitEvery):
		}
	}
}

const (
	awaitEvery = 100 * time.Millisecond
	askTimeout = 2 * time.Second
)

// AwaitCurrent waits until the stream has a leader and all its replicas have what the leader has. When ctx ends, the
// error says what is missing.
func AwaitCurrent(ctx context.Context, js jetstream.JetStream, stream string) error {
	return await(ctx, "wait for the replicas of "+stream, func(ctx context.Context) error { return lagging(ctx, js, stream) })
}

func lagging(ctx context.Context, js jetstream.JetStream, stream string) error {
	s, err := js.Stream(ctx, stream)
	if err != nil {
		return err //nolint:wrapcheck // wrapped by await
	}

	info := s.CachedInfo()
	if info.Cluster == nil || info.Cluster.Leader == "" {
		return errors.New("no leader")
	}

	if n := len(info.Cluster.Replicas) + 1; n != info.Config.Replicas {
		return fmt.Errorf("%d replicas of %d", n, info.Config.Replicas)
	}

	for _, r := range info.Cluster.Replicas {
		if !r.Current || r.Offline || r.Lag > 0 {
			return fmt.Errorf("replica on %s: current %t, offline %t, %d behind", r.Name, r.Current, r.Offline, r.Lag)
		}
	}

	return nil
}

// Command natsd is a NATS server with JetStream in a process of its own, so that it can be killed and measured like
// the services beside it.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/atlas-relay/atlas-relay/pkg/natstest"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()

	port := flag.Int("port", 4222, "port on 127.0.0.1")
	store := flag.String("store", "", "directory of the streams; empty: a temporary one")

	name := flag.String("name", "", "name in a cluster; empty: the server is alone")
	clusterPort := flag.Int("cluster-port", 0, "port on 127.0.0.1 for the other servers of the cluster")
	routes := flag.String("routes", "", "host:port of every server of the cluster, comma list")

	config := flag.String("config", "", "configuration file of nats-server, for users and permissions; empty: everybody may do everything")

	flag.Parse()

	// As deploy/nats/nats.conf: at most one second of acknowledged messages is lost when the machine loses power.
	options := natstest.Options{Port: *port, StoreDir: *store, SyncInterval: time.Second, Config: *config}
	if *name != "" {
		options.Member = &natstest.Member{Name: *name, Port: *clusterPort, Routes: strings.Split(*routes, ",")}
	}

	server, err := natstest.Run(options)
	if err != nil {
		fmt.Fprintln(os.Stderr, "natsd:", err)
		os.Exit(1)
	}

	<-ctx.Done()

	if err := server.Shutdown(); err != nil {
		fmt.Fprintln(os.Stderr, "natsd:", err)
		os.Exit(1)
	}
}

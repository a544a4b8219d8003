// Command natsd is a NATS server with JetStream in a process of its own, so that it can be killed and measured like
// the services beside it.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/atlas-relay/atlas-relay/pkg/natstest"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()

	port := flag.Int("port", 4222, "port on 127.0.0.1")
	store := flag.String("store", "", "directory of the streams; empty: a temporary one")

	flag.Parse()

	// As deploy/nats/nats.conf: at most one second of acknowledged messages is lost when the machine loses power.
	server, err := natstest.Run(natstest.Options{Port: *port, StoreDir: *store, SyncInterval: time.Second})
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

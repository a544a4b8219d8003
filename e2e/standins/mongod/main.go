// Mongod stands in for the server of MongoDB in the image mongo. The data are with secantusd-rs, a process of its own
// behind it, which is a replica set of one member by itself, with a name and an address that cannot be chosen. Mongod
// gives it those of --replSet and replSetInitiate, and no primary before that command, as the real server does.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"
)

func main() {
	set := flag.String("replSet", "", "name of the replica set")
	dir := flag.String("dbpath", "/data/db", "directory of the data")
	all := flag.Bool("bind_ip_all", false, "listen on all addresses, not on 127.0.0.1 alone")
	flag.Parse()

	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)

	host := "127.0.0.1"
	if *all {
		host = "0.0.0.0"
	}

	err := run(ctx, *set, *dir, host)

	stop()

	if err != nil {
		fmt.Fprintln(os.Stderr, "mongod:", err)
		os.Exit(1)
	}
}

const (
	port    = "27017"
	backend = "127.0.0.1:27018"
)

func run(ctx context.Context, set, dir, host string) error {
	if set == "" || flag.NArg() > 0 {
		return errors.New("use: mongod --replSet NAME [--bind_ip_all] [--dbpath DIR]")
	}

	m, err := openMember(set, filepath.Join(dir, "member.json"))
	if err != nil {
		return err
	}

	config := filepath.Join(dir, "secantusd.toml") // without the flag it looks for one elsewhere
	if err := os.WriteFile(config, nil, 0o600); err != nil {
		return fmt.Errorf("write an empty configuration: %w", err)
	}

	server := exec.CommandContext(ctx, "secantusd-rs",
		"--config", config,
		"--host", "127.0.0.1", "--port", "27018",
		"--storage-path", filepath.Join(dir, "secantus"),
		"--log-level", "WARNING",
		"--cache-size", "512M",
		"--noop-heartbeat-seconds", "1",
		"--oplog-max-entries", "50000000", "--oplog-retention-seconds", "86400",
		"--sync-on-commit", // as mongod does for majority writes
	)
	server.Stdout, server.Stderr = os.Stdout, os.Stderr
	server.Cancel = func() error { return server.Process.Signal(syscall.SIGTERM) }
	server.WaitDelay = 10 * time.Second

	if err := server.Start(); err != nil {
		return fmt.Errorf("start the server: %w", err)
	}

	ended := make(chan error, 1)
	go func() { ended <- server.Wait() }()

	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", net.JoinHostPort(host, port))
	if err != nil {
		return fmt.Errorf("listen: %w", err)
	}

	slog.Info("listening", slog.String("address", listener.Addr().String()), slog.String("stand_in_for", "mongod")) //nolint:sloglint // a program of one page

	go m.serve(listener)

	if err = <-ended; ctx.Err() == nil {
		return fmt.Errorf("the server ended: %w", err)
	}

	return nil // on a signal
}

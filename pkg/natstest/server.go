// Package natstest is a real NATS server with JetStream on disk inside this process.
//
// Tests call [New] and get a server that ends with them, or [StartCluster] for several that hold replicated streams. Programs outside tests (the demo, the benchmark)
// call [Run] and own the server. Every server listens on 127.0.0.1 on a port of its own and uses no global state,
// so any number of them may run side by side.
package natstest

import (
	"cmp"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"os"
	"strconv"
	"sync"
	"time"

	"github.com/nats-io/nats-server/v2/server"
)

// readyTimeout bounds how long a start may take; it is near 30 ms on an idle machine.
const readyTimeout = 20 * time.Second

// reconnectWait is short so that a test does not wait the 2 s of nats.go after a Restart.
const reconnectWait = 20 * time.Millisecond

const loopback = "127.0.0.1"

// maxMemory is what JetStream may keep in memory, of which the relay has nothing there.
const maxMemory = 64 << 20

// Options adjusts a server. The zero value is a server with JetStream, a free port and the limits of nats-server.
type Options struct {
	// StoreDir keeps the streams. Empty: a temporary directory that Shutdown removes.
	StoreDir string
	// Port to listen on; 0 picks a free one, which Resume then keeps.
	Port int
	// MaxPayload is the largest message in bytes; 0 is the 1 MiB of nats-server.
	MaxPayload int32
	// MaxStore is the most that all streams together may keep on disk, in bytes; 0 lets the server decide by the free disk.
	MaxStore int64
	// SyncInterval is how often streams are flushed to the disk; 0 is the 2 minutes of nats-server.
	SyncInterval time.Duration
	// SyncAlways flushes every message before its PubAck.
	SyncAlways bool
	// WithoutJetStream makes a server that refuses every JetStream request.
	WithoutJetStream bool
	// Username and Password, when set, are required of every client.
	Username, Password string
	// TLS, when set, is what every client has to speak; its callbacks may exchange certificates.
	TLS *tls.Config
	// Member makes the server one of a cluster; nil: it is alone.
	Member *Member
	// Config is a configuration file of nats-server. Its addresses and its store are left out; options that are set here win.
	Config string
}

// Server is one running, or stopped and restartable, NATS server. Its methods may be called from any goroutine.
type Server struct {
	options   Options
	ownsStore bool

	mu  sync.Mutex
	srv *server.Server // nil while stopped
}

// Run starts a server that the caller must end with Shutdown.
func Run(o Options) (*Server, error) {
	s := &Server{options: o}

	if o.StoreDir == "" {
		dir, err := os.MkdirTemp("", "atlas-relay-nats-*")
		if err != nil {
			return nil, fmt.Errorf("make a store directory for nats: %w", err)
		}

		s.options.StoreDir, s.ownsStore = dir, true
	}

	if err := s.start(); err != nil {
		return nil, errors.Join(err, s.removeStore())
	}

	return s, nil
}

// URL is the address for clients; it stays the same across Stop and Resume. It never holds credentials.
func (s *Server) URL() string {
	return "nats://" + s.Addr()
}

// Addr is the host and port of the client listener.
func (s *Server) Addr() string {
	s.mu.Lock()
	defer s.mu.Unlock()

	return net.JoinHostPort(loopback, strconv.Itoa(s.options.Port))
}

// id is of this run of the server; the next one has another. Empty while it is stopped.
func (s *Server) id() string {
	s.mu.Lock()
	defer s.mu.Unlock()

	if s.srv == nil {
		return ""
	}

	return s.srv.ID()
}

// StoreDir is where JetStream keeps its files. They may be read or damaged while the server is stopped.
func (s *Server) StoreDir() string {
	return s.options.StoreDir
}

// Stop ends the server in order and waits for it: clients are cut, files are flushed. What kill -9 does to a server
// cannot be shown inside this process. Stopping a stopped server does nothing.
func (s *Server) Stop() {
	s.mu.Lock()
	defer s.mu.Unlock()

	if s.srv == nil {
		return
	}

	s.srv.Shutdown()
	s.srv.WaitForShutdown()
	s.srv = nil
}

// Resume runs a stopped server again with the same port and store. Resuming a running server does nothing.
func (s *Server) Resume() error {
	s.mu.Lock()
	running := s.srv != nil
	s.mu.Unlock()

	if running {
		return nil
	}

	return s.start()
}

// SetMaxPayload changes the largest message of a stopped server, for the next Resume.
func (s *Server) SetMaxPayload(bytes int32) {
	s.mu.Lock()
	defer s.mu.Unlock()

	s.options.MaxPayload = bytes
}

// Shutdown stops the server for good and removes the store if Run made it.
func (s *Server) Shutdown() error {
	s.Stop()

	return s.removeStore()
}

func (s *Server) removeStore() error {
	if !s.ownsStore {
		return nil
	}

	if err := os.RemoveAll(s.options.StoreDir); err != nil {
		return fmt.Errorf("remove the nats store: %w", err)
	}

	return nil
}

func (s *Server) start() error {
	s.mu.Lock()
	defer s.mu.Unlock()

	options, err := s.serverOptions()
	if err != nil {
		return err
	}

	srv, err := server.NewServer(options)
	if err != nil {
		return fmt.Errorf("configure nats server: %w", err)
	}

	trouble := &fatalLog{}
	srv.SetLogger(trouble, false, false)
	srv.Start() // returns once the server listens, or after a fatal line in its log

	if err := s.checkStarted(srv, trouble); err != nil {
		srv.Shutdown()
		srv.WaitForShutdown()

		return err
	}

	addr, ok := srv.Addr().(*net.TCPAddr)
	if !ok {
		return fmt.Errorf("nats server listens on %v, not on tcp", srv.Addr())
	}

	s.srv, s.options.Port = srv, addr.Port

	return nil
}

func (s *Server) checkStarted(srv *server.Server, trouble *fatalLog) error {
	if err := trouble.err(); err != nil {
		return fmt.Errorf("start nats server with the store %s: %w", s.options.StoreDir, err)
	}

	if !srv.ReadyForConnections(readyTimeout) {
		return fmt.Errorf("nats server was not ready within %s", readyTimeout)
	}

	return nil
}

func (s *Server) serverOptions() (*server.Options, error) {
	o := s.options

	options := new(server.Options)
	if o.Config != "" {
		read, err := server.ProcessConfigFile(o.Config)
		if err != nil {
			return nil, fmt.Errorf("read the configuration of nats-server: %w", err)
		}

		options = read
		options.HTTPHost, options.HTTPPort = "", 0
	}

	options.ServerName, options.Host, options.Port = "natstest", loopback, o.Port
	if o.Port == 0 {
		options.Port = server.RANDOM_PORT
	}

	options.NoSigs = true // signals belong to the program around it
	options.NoSystemAccount = len(options.Accounts) == 0
	options.JetStream, options.StoreDir = !o.WithoutJetStream, o.StoreDir
	options.JetStreamMaxStore, options.JetStreamMaxMemory = o.MaxStore, maxMemory
	options.MaxPayload = cmp.Or(o.MaxPayload, options.MaxPayload)
	options.SyncInterval, options.SyncAlways = cmp.Or(o.SyncInterval, options.SyncInterval), o.SyncAlways || options.SyncAlways
	options.Username, options.Password = cmp.Or(o.Username, options.Username), cmp.Or(o.Password, options.Password)

	if o.TLS != nil {
		options.TLS, options.TLSConfig, options.TLSTimeout = true, o.TLS, readyTimeout.Seconds()
	}

	if o.Member != nil {
		o.Member.join(options)
	}

	return options, nil
}

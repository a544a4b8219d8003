package mongotest

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"strconv"
	"sync"
	"syscall"
	"time"

	"github.com/atlas-relay/atlas-relay/pkg/settings"
)

// Options adjusts a server that is started. The zero value is a replica set of one node without users.
type Options struct {
	// SyncOnCommit makes a stand-in keep every acknowledged write over Kill, as mongod does by itself.
	SyncOnCommit bool
	// OplogMaxEntries bounds the oplog, so that history gets lost; 0 is no bound that a test reaches. mongod knows
	// sizes only: any bound is its least, 1 MiB.
	OplogMaxEntries int
	// Standalone makes a server without change streams and transactions.
	Standalone bool
	// Username and Password, when set, are of a user with the role root, and required of every client.
	Username, Password string
}

// ErrNotOurs says that a server was given by its URI and cannot be stopped from here.
var ErrNotOurs = errors.New("the server was given by its URI and cannot be controlled")

const startTimeout = 60 * time.Second

// Server is a MongoDB of a test. Its methods may be called from any goroutine, one that stops or starts it at a time.
type Server struct {
	choice  Choice
	options Options
	dir     *dir  // nil for a given URI
	port    *port // nil for a given URI

	mu       sync.Mutex
	proc     *process // nil while not running
	prepared bool     // replica set initiated, user made
}

// Start runs the chosen server and waits until it takes writes. The caller must Stop it.
func Start(ctx context.Context, choice Choice, o Options) (*Server, error) {
	s := &Server{choice: choice, options: o}

	if choice.Flavor == Given {
		return s, nil
	}

	if s.options.OplogMaxEntries == 0 {
		s.options.OplogMaxEntries = oplogEntries
	}

	d, err := newDir()
	if err != nil {
		return nil, err
	}

	s.dir = d

	s.port, err = reservePort(ctx)
	if err == nil {
		err = s.run(ctx)
	}

	if err != nil {
		return nil, errors.Join(err, s.Stop())
	}

	return s, nil
}

// Choice says which server it is and why.
func (s *Server) Choice() Choice { return s.choice }

// URI is the connection string, with the user where one was asked for. It stays the same across Restart.
func (s *Server) URI() settings.URI {
	if s.choice.Flavor == Given {
		return s.choice.URI
	}

	if s.options.Username == "" {
		return s.uriWithoutUser()
	}

	return settings.NewURI(fmt.Sprintf("mongodb://%s:%s@%s/?directConnection=true", s.options.Username, s.options.Password, s.Addr()))
}

func (s *Server) uriWithoutUser() settings.URI {
	return settings.NewURI("mongodb://" + s.Addr() + "/?directConnection=true")
}

// Addr is the host and port of a server that was started here.
func (s *Server) Addr() string {
	return net.JoinHostPort(loopback, strconv.Itoa(s.port.number))
}

// DataDir is where a server that was started here keeps its data. The files may be copied and exchanged while it does
// not run.
func (s *Server) DataDir() string { return s.dir.data() }

// LogFile is where the output of a server that was started here goes.
func (s *Server) LogFile() string { return s.dir.log() }

// PID is the process of a server that was started here and runs, else 0.
func (s *Server) PID() int {
	s.mu.Lock()
	defer s.mu.Unlock()

	if s.proc == nil {
		return 0
	}

	return s.proc.cmd.Process.Pid
}

// Kill ends the server as kill -9 does and waits for it. What it had acknowledged survives on mongod, and on a
// stand-in only with SyncOnCommit.
func (s *Server) Kill() error {
	return s.end((*process).kill)
}

// Terminate ends the server in order; it keeps everything it had acknowledged.
func (s *Server) Terminate() error {
	return s.end((*process).terminate)
}

func (s *Server) end(how func(*process) error) error {
	if s.dir == nil {
		return ErrNotOurs
	}

	s.mu.Lock()
	defer s.mu.Unlock()

	if s.proc == nil {
		return nil
	}

	err := how(s.proc)
	s.proc = nil

	return err
}

// Restart runs the server again with the same port and data, after Kill or Terminate, or after ending it in order.
func (s *Server) Restart(ctx context.Context) error {
	if err := s.Terminate(); err != nil {
		return err
	}

	return s.run(ctx)
}

// Freeze stops the server's process without ending it: connections stay open and nothing answers.
func (s *Server) Freeze(ctx context.Context) error {
	if err := s.signal(syscall.SIGSTOP); err != nil {
		return err
	}

	return awaitStopped(ctx, s.PID())
}

// Thaw lets a frozen server go on. The Rust stand-in then resets about half of its connections: on Linux a receive with
// a timeout fails with EINTR after SIGCONT (signal(7)), and it takes that for the end of the client.
func (s *Server) Thaw() error { return s.signal(syscall.SIGCONT) }

func (s *Server) signal(signal syscall.Signal) error {
	if s.dir == nil || s.choice.Flavor == MongodInDocker { // the process here is only the client of the container
		return ErrNotOurs
	}

	s.mu.Lock()
	defer s.mu.Unlock()

	if s.proc == nil {
		return errors.New("the server does not run")
	}

	return s.proc.signal(signal)
}

// Stop ends the server for good and removes its files. A given one is left alone.
func (s *Server) Stop() error {
	if s.dir == nil {
		return nil
	}

	err := errors.Join(s.Kill(), s.dir.remove())
	if s.port != nil {
		s.port.release()
	}

	return err
}

// errEnded says that the process ended before it was ready; its log says why.
var errEnded = errors.New("the server ended while starting")

// run starts the process and prepares it, once, as a replica set with its user.
func (s *Server) run(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()

	s.mu.Lock()
	defer s.mu.Unlock()

	withUser := s.options.Username != ""
	if err := s.launch(ctx, withUser && s.prepared); err != nil {
		return err
	}

	if s.prepared {
		return nil
	}

	if err := s.prepare(ctx); err != nil {
		return err
	}

	s.prepared = true

	if !withUser {
		return nil
	}

	err := s.proc.terminate() // made without users first: there is nobody yet who could log in
	s.proc = nil

	if err != nil {
		return err
	}

	return s.launch(ctx, true)
}

// launch starts the process and waits until its port answers.
func (s *Server) launch(ctx context.Context, auth bool) error {
	proc, err := spawn(s.dir.log(), s.choice.Path, s.arguments(auth))
	if err != nil {
		return err
	}

	s.proc = proc

	if err := s.awaitPort(ctx, proc); err != nil {
		err = errors.Join(err, proc.kill())
		s.proc = nil

		return fmt.Errorf("start %s on port %d: %w%s", s.choice.Flavor, s.port.number, err, s.lastWords())
	}

	return nil
}

const portRetry = 5 * time.Millisecond

func (s *Server) awaitPort(ctx context.Context, proc *process) error {
	ticker := time.NewTicker(portRetry)
	defer ticker.Stop()

	for {
		conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", s.Addr())
		if err == nil {
			_ = conn.Close()

			if proc.running() {
				return nil
			}
		}

		select {
		case <-proc.done:
			return errEnded
		case <-ctx.Done():
			return fmt.Errorf("not ready: %w", context.Cause(ctx))
		case <-ticker.C:
		}
	}
}

// lastWords is the end of the server's log, to stand in an error.
func (s *Server) lastWords() string {
	const most = 1000

	log, err := os.ReadFile(s.dir.log())
	if err != nil || len(log) == 0 {
		return ""
	}

	return "; its log ends:\n" + string(log[max(0, len(log)-most):])
}

package mongotest

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"syscall"
)

// Ports are taken below the range from which systems serve ":0" and outgoing connections (32768 and above on Linux):
// nobody can take the port of a server that is down for a restart.
const (
	firstPort    = 20_000
	lastPort     = 32_000
	portAttempts = 1_000
)

// port is a port that no other server of this package, in any process of this user, uses while lock is open. Without
// the lock two servers that start at the same moment find the same port free, and the tests of the loser speak to the
// winner's server.
type port struct {
	number int
	lock   *os.File
}

func reservePort(ctx context.Context) (*port, error) {
	locks := filepath.Join(os.TempDir(), "atlas-relay-ports-"+strconv.Itoa(os.Getuid()))
	if err := os.MkdirAll(locks, 0o700); err != nil {
		return nil, fmt.Errorf("make the directory of port locks: %w", err)
	}

	for range portAttempts {
		number := firstPort + rand.IntN(lastPort-firstPort)

		lock, err := os.OpenFile(filepath.Join(locks, strconv.Itoa(number)), os.O_CREATE|os.O_RDWR, 0o600)
		if err != nil {
			return nil, fmt.Errorf("open a port lock: %w", err)
		}

		if syscall.Flock(int(lock.Fd()), syscall.LOCK_EX|syscall.LOCK_NB) == nil && isFree(ctx, number) {
			return &port{number: number, lock: lock}, nil
		}

		_ = lock.Close()
	}

	return nil, errors.New("no free port between 20000 and 32000")
}

func isFree(ctx context.Context, number int) bool {
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", net.JoinHostPort(loopback, strconv.Itoa(number)))

	return err == nil && listener.Close() == nil
}

func (p *port) release() {
	_ = p.lock.Close()
}

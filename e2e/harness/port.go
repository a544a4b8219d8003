package harness

import (
	"context"
	"errors"
	"math/rand/v2"
	"net"
	"strconv"
	"sync/atomic"
)

// Ports are taken below the range from which systems serve ":0" and outgoing connections (32768 and above on Linux):
// while a server is down for a restart nobody else can get its port, not even a client that keeps dialling it. They
// are apart from those of pkg/mongotest.
const (
	firstPort    = 12_000
	lastPort     = 20_000
	portAttempts = 1_000
)

const loopback = "127.0.0.1"

// given is how many ports this process has given away, from a place of its own on.
var given atomic.Uint64 //nolint:gochecknoglobals // the ports are the machine's

func init() { given.Store(rand.Uint64N(lastPort - firstPort)) } //nolint:gochecknoinits // see above

// FreeAddr is an address on which nobody listens. It is given to nobody else of this process for long: who got it may not
// listen yet, or may be down for a restart.
func FreeAddr(ctx context.Context) (string, error) {
	for range portAttempts {
		addr := net.JoinHostPort(loopback, strconv.FormatUint(firstPort+given.Add(1)%(lastPort-firstPort), 10))

		listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", addr)
		if err == nil {
			return addr, listener.Close()
		}
	}

	return "", errors.New("no free port between 12000 and 20000")
}

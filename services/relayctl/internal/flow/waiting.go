package flow

import (
	"context"
	"errors"
	"net"
	"strings"
	"time"

	"github.com/atlas-relay/atlas-relay/pkg/mongodb"
	"github.com/atlas-relay/atlas-relay/pkg/retry"
)

// unknownFor is how long a host is waited for whose name DNS does not know: it may come with the host, but a misspelt one
// never does.
const unknownFor = 10 * time.Second

// Waiting says how servers are waited for.
type Waiting struct {
	// Told hears of each server once that is waited for, and of each other reason to: what it is, and what to do.
	Told func(what, next string)
	// ForNames says that a host with an unknown name is waited for as long as any other.
	ForNames bool
}

type waitingKey struct{}

// WithWaiting returns a context in which servers are waited for like that.
func WithWaiting(ctx context.Context, w Waiting) context.Context {
	return context.WithValue(ctx, waitingKey{}, w)
}

// await tries until the operation succeeds, its error is permanent, or ctx ends.
func await(ctx context.Context, operation func(context.Context) error) error {
	w, _ := ctx.Value(waitingKey{}).(Waiting)
	began, told := time.Now(), ""

	policy := retry.Policy{Initial: 200 * time.Millisecond, Max: 2 * time.Second, OnRetry: func(f retry.Failure) {
		unreachable, ok := errors.AsType[*UnreachableError](f.Err)
		if ok && w.Told != nil && unreachable.What != told {
			told = unreachable.What

			w.Told(unreachable.Error(), unreachable.Next)
		}
	}}

	return retry.Do(ctx, policy, func(ctx context.Context) error {
		err := operation(ctx)

		unreachable, ok := errors.AsType[*UnreachableError](err)
		if !ok {
			return err
		}

		hosts := unknownHosts(err)
		if len(hosts) == 0 {
			return err
		}

		unreachable.Next = "check the name, and that this host can look it up: getent hosts " + strings.Join(hosts, " ") + "; --wait waits for a name that comes later"
		unreachable.Err = errors.New("no such host: " + strings.Join(hosts, ", "))

		if !w.ForNames && time.Since(began) > unknownFor {
			return retry.Permanent(err)
		}

		return err
	})
}

// unknownHosts are the names that DNS does not know, where that is what is wrong.
func unknownHosts(err error) []string {
	if dns, ok := errors.AsType[*net.DNSError](err); ok && dns.IsNotFound {
		return []string{dns.Name}
	}

	return mongodb.UnknownHosts(err)
}

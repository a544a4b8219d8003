package flow

import (
	"context"
	"errors"
	"fmt"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/atlas-relay/atlas-relay/pkg/mongodb"
	"github.com/atlas-relay/atlas-relay/pkg/natsconn"
	"github.com/atlas-relay/atlas-relay/pkg/settings"
	"github.com/atlas-relay/atlas-relay/pkg/tlsfiles"
	"github.com/atlas-relay/atlas-relay/pkg/topology"
)

// RefusedError is something that waiting does not make right.
type RefusedError struct {
	What string
	Next string
	Err  error // may be nil
}

func (e *RefusedError) Error() string {
	if e.Err == nil {
		return e.What
	}

	return e.What + ": " + e.Err.Error()
}

func (e *RefusedError) Unwrap() error { return e.Err }

// NextStep says what a person should do.
func (e *RefusedError) NextStep() string { return e.Next }

// ExitCode is 2: input refused.
func (*RefusedError) ExitCode() int { return 2 }

// UnreachableError is a server that cannot be reached.
type UnreachableError struct {
	What string
	Next string
	Err  error
}

func (e *UnreachableError) Error() string { return fmt.Sprintf("%s: %v", e.What, e.Err) }
func (e *UnreachableError) Unwrap() error { return e.Err }

// NextStep says what a person should do.
func (e *UnreachableError) NextStep() string { return e.Next }

// ExitCode is 3: a server cannot be reached.
func (*UnreachableError) ExitCode() int { return 3 }

// gaveUp makes an error that the end of ctx caused one of a server that cannot be
// reached, unless it says more already.
func gaveUp(ctx context.Context, err error) error {
	var coded interface{ ExitCode() int }
	if err == nil || !errors.Is(ctx.Err(), context.DeadlineExceeded) || errors.As(err, &coded) {
		return err
	}

	return &UnreachableError{What: "the servers were not there in time", Err: err, Next: "look at the servers' logs, or wait longer with --wait"}
}

// natsTrouble says what an error of NATS means.
func natsTrouble(url settings.URI, err error) error {
	var refused *RefusedError

	switch {
	case errors.As(err, &refused):
		return err
	case errors.Is(err, jetstream.ErrJetStreamNotEnabled), errors.Is(err, jetstream.ErrJetStreamNotEnabledForAccount):
		return &RefusedError{
			What: fmt.Sprintf("NATS at %s has no JetStream", url), Err: err,
			Next: "start nats-server with -js and -sd <directory>, or enable JetStream for the account",
		}
	case errors.As(err, new(*natsconn.CredentialsError)):
		return &RefusedError{What: "NATS_CREDS cannot be used", Err: err, Next: "check the path, its permissions, and that it holds a user's key: nk -inkey FILE -pubout"}
	case errors.Is(err, nats.ErrAuthorization), errors.Is(err, nats.ErrAuthExpired), errors.Is(err, nats.ErrPermissionViolation):
		return &RefusedError{
			What: fmt.Sprintf("NATS at %s refuses the credentials", url), Err: err,
			Next: "check NATS_CREDS, or user and password in NATS_URL",
		}
	case tlsfiles.Diagnose(err).Fault != tlsfiles.None, errors.Is(err, nats.ErrSecureConnRequired), errors.Is(err, nats.ErrSecureConnWanted):
		return &RefusedError{
			What: fmt.Sprintf("NATS at %s cannot be spoken to over TLS", url), Err: err,
			Next: "check NATS_CA, which signs the server's certificate, NATS_CERT and NATS_KEY, which are ours, and that the server has TLS",
		}
	default:
		return &UnreachableError{
			What: fmt.Sprintf("NATS at %s cannot be reached", url), Err: err,
			Next: "check NATS_URL, that nats-server runs, and that this host may reach it",
		}
	}
}

// mongoTrouble says what an error of a deployment means; variable names it.
func mongoTrouble(variable string, uri settings.URI, err error) error {
	next := mongodb.Explain(err)

	switch {
	case errors.As(err, new(*RefusedError)):
		return err
	case isRefusal(err):
		return &RefusedError{What: fmt.Sprintf("%s (%s) is refused", variable, uri), Err: err, Next: next}
	case mongodb.IsTransient(err):
		return &UnreachableError{What: fmt.Sprintf("%s (%s) cannot be reached", variable, uri), Err: err, Next: next}
	default:
		return fmt.Errorf("%s (%s): %w", variable, uri, err)
	}
}

func isRefusal(err error) bool {
	return errors.Is(err, mongodb.ErrStandalone) || errors.Is(err, mongodb.ErrInvalidURI) || mongodb.IsUnauthorized(err)
}

// openTrouble says what to do about a stream that is not the flow's, or no longer as it was made.
func openTrouble(url fmt.Stringer, flow string, err error) error {
	switch {
	case errors.Is(err, topology.ErrForeignStream):
		return &RefusedError{What: "the name of the flow's stream is taken", Err: err, Next: "choose another FLOW, or remove that stream"}
	case errors.Is(err, topology.ErrConfigDiffers):
		return &RefusedError{What: "the flow's stream was changed", Err: err, Next: "undo it with nats stream edit " + topology.StreamName(flow)}
	default:
		return fmt.Errorf("NATS at %s: %w", url, err)
	}
}

// createTrouble: the server refuses a stream that its store cannot hold (10047
// without room on the disk, 10028 and 10122 above the account's limit), and one
// with more replicas than it has servers (10074 without a cluster, 10005).
func createTrouble(err error) error {
	var refused *jetstream.APIError
	if !errors.As(err, &refused) {
		return err
	}

	switch refused.ErrorCode {
	case 10047, 10028, 10122:
		return &RefusedError{What: "NATS has no room for the stream", Err: err, Next: "set a smaller STREAM_MAX_BYTES, or raise max_file_store of the server"}
	case 10005, 10074:
		return &RefusedError{What: "NATS has too few servers for STREAM_REPLICAS", Err: err, Next: "name a cluster in NATS_URL with as many servers that have JetStream, or fewer replicas"}
	default:
		return err
	}
}

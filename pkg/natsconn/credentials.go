package natsconn

import (
	"bytes"
	"errors"
	"fmt"
	"os"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nkeys"
)

// CredentialsError is a credentials file that cannot be used. Its text holds nothing of what the file holds.
type CredentialsError struct {
	Path string
	Err  error
}

// Error implements error.
func (e *CredentialsError) Error() string {
	return fmt.Sprintf("read the NATS credentials of %s: %v", e.Path, e.Err)
}

// Unwrap returns the reason.
func (e *CredentialsError) Unwrap() error { return e.Err }

// ExitCode is 2: configuration refused.
func (*CredentialsError) ExitCode() int { return 2 }

// jwtMark begins the JWT in a file that nsc or the server's operator has written.
const jwtMark = "BEGIN NATS USER JWT"

// identity shows the server who we are, by a file that holds a JWT and its key (servers with an operator), or the seed of
// an nkey alone (servers whose configuration lists the users). Each connection reads the file again, so a JWT and its key
// may be renewed in place; another nkey is another user, and takes another start.
func identity(path string) (nats.Option, error) {
	content, err := os.ReadFile(path) //nolint:gosec // who runs the program names its files
	if err != nil {
		if inner := errors.Unwrap(err); inner != nil {
			err = inner // without the path, which stands there already
		}

		return nil, &CredentialsError{Path: path, Err: err}
	}

	isJWT := bytes.Contains(content, []byte(jwtMark))

	key, err := nkeys.ParseDecoratedUserNKey(content)
	clear(content)

	if err != nil {
		return nil, &CredentialsError{Path: path, Err: fmt.Errorf("it holds no key of a NATS user: %w", err)}
	}

	key.Wipe()

	if isJWT {
		return nats.UserCredentials(path), nil
	}

	option, err := nats.NkeyOptionFromSeed(path)
	if err != nil {
		return nil, &CredentialsError{Path: path, Err: err}
	}

	return option, nil
}

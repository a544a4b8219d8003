// Package access decides who may ask what of the API, the same over gRPC and over HTTP. It does no I/O but reading the
// file of tokens.
//
//	a known token            the role that the file gives it
//	an unknown token         nobody, wherever it comes from
//	none, a certificate      the role that the file gives it, or that of the two lines below if that is higher
//	none, from this host     the role of API_LOCAL: operator while there is no file of tokens, else viewer
//	none, from elsewhere     the role of API_OPEN: nobody, unless an operator says otherwise
//
// A certificate is one that API_CLIENT_CA has signed; others do not get as far as here.
//
// From this host means: the connection does, directly. What a proxy on this host hands on comes from elsewhere; one that
// does not say so cannot be told from the host itself, and API_LOCAL=none is for a host that has one.
package access

import (
	"context"
	"errors"
	"fmt"

	"github.com/atlas-relay/atlas-relay/pkg/settings"
)

// Role is what a caller may do. A higher one may all that a lower one may.
type Role int

// The roles.
const (
	Nobody   Role = iota
	Viewer        // read, but no contents of documents
	Operator      // read those of dead letters, replay and discard them, pause and resume flows
)

// ParseRole reads the written form; false when it is none.
func ParseRole(text string) (Role, bool) {
	switch text {
	case "none":
		return Nobody, true
	case "viewer":
		return Viewer, true
	case "operator":
		return Operator, true
	default:
		return Nobody, false
	}
}

func (r Role) String() string {
	switch r {
	case Viewer:
		return "viewer"
	case Operator:
		return "operator"
	default:
		return "none"
	}
}

// Errors of Admit.
var (
	// ErrNoToken says that this caller has to show a token.
	ErrNoToken = errors.New("a token is needed")
	// ErrBadToken says that the token is not in the file.
	ErrBadToken = errors.New("the token is not known")
)

// RoleError is a caller whose role does not suffice.
type RoleError struct {
	Has, Needs  Role
	Certificate string // of the caller; empty: he showed a token
}

func (e *RoleError) Error() string {
	if e.Certificate != "" {
		return fmt.Sprintf("this needs the role %s, the client certificate %q has %s", e.Needs, e.Certificate, e.Has)
	}

	return fmt.Sprintf("this needs the role %s, the caller has %s", e.Needs, e.Has)
}

// Caller is where a request comes from and what it shows.
type Caller struct {
	Addr  string          // for the record
	Token settings.Secret // zero: none
	// Certificate is the name of the client certificate that was verified; empty: none.
	Certificate string
	// Local says that the connection comes from this host, and that nobody handed the request on.
	Local bool
	// Rebound says that a browser asked for a host name that may be anybody's: whoever owns the name reads the answers,
	// so nothing but a token counts. A browser shows a certificate without being asked to by its user.
	Rebound bool
}

// HandedOn tells whether a proxy says in the headers of HTTP, or the metadata of gRPC, that a request is another host's.
func HandedOn(header func(name string) string) bool {
	for _, name := range []string{"Forwarded", "Via", "X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Proto", "X-Real-Ip"} {
		if header(name) != "" {
			return true
		}
	}

	return false
}

// Identity is who was admitted.
type Identity struct {
	Role        Role
	Token       string // name of the token; empty without one
	Certificate string // name of the certificate; empty without one, or beside a token
	Addr        string
}

// Guard admits callers. Safe for concurrent use.
type Guard struct {
	open, local Role
	tokens      *Tokens // nil: there is no file
}

// New returns a guard that gives callers without a token the role open, those of this host the role local if that is
// higher, and those with a token the role that tokens say. Tokens may be nil.
func New(open, local Role, tokens *Tokens) *Guard {
	return &Guard{open: open, local: local, tokens: tokens}
}

// Admit returns who the caller is, if he may do what needs this role. It returns ErrNoToken, ErrBadToken and RoleError.
func (g *Guard) Admit(c Caller, needs Role) (Identity, error) {
	id := Identity{Addr: c.Addr, Role: g.anonymous(c)}

	switch {
	case !c.Token.IsZero():
		known, ok := g.tokens.find(c.Token.Reveal())
		if !ok {
			return Identity{}, ErrBadToken
		}

		id.Role, id.Token = known.role, known.name
	case c.Certificate != "" && !c.Rebound:
		id.Role, id.Certificate = max(id.Role, g.tokens.certificate(c.Certificate)), c.Certificate
	}

	if err := id.Require(needs); err != nil {
		return Identity{}, err
	}

	return id, nil
}

// Require returns ErrNoToken or a RoleError for who may not do what needs this role.
func (id Identity) Require(needs Role) error {
	switch {
	case id.Role >= needs:
		return nil
	case id.Token == "" && id.Certificate == "":
		return ErrNoToken
	default:
		return &RoleError{Has: id.Role, Needs: needs, Certificate: id.Certificate}
	}
}

func (g *Guard) anonymous(c Caller) Role {
	switch {
	case c.Rebound:
		return Nobody
	case c.Local:
		return max(g.open, g.local)
	default:
		return g.open
	}
}

type identityKey struct{}

// With returns a context that carries who was admitted.
func With(ctx context.Context, id Identity) context.Context {
	return context.WithValue(ctx, identityKey{}, id)
}

// From returns who was admitted; the zero Identity when nobody was.
func From(ctx context.Context) Identity {
	id, _ := ctx.Value(identityKey{}).(Identity)

	return id
}

package access

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/atlas-relay/atlas-relay/pkg/telemetry"
)

const (
	// reloadEvery is how soon a change of the file counts.
	reloadEvery = time.Second
	// leastToken is the length below which a token could be guessed.
	leastToken = 16
)

// token is a line of the file. Of the secret only a digest is kept: all have one length, which a comparison in constant
// time needs.
type token struct {
	name   string
	role   Role
	digest [sha256.Size]byte
}

// lines are what the file says.
type lines struct {
	tokens       []token
	certificates map[string]Role // by name
}

// Tokens are those of a file, and the roles that it gives to client certificates. Safe for concurrent use.
type Tokens struct {
	path string

	now  atomic.Pointer[lines]
	last [sha256.Size]byte // of the file's content; used by Watch alone
}

// LoadTokens reads a file with one token, or the name of one client certificate, a line:
//
//	# name   role                secret, at least 16 characters
//	ann      operator            3f0c…
//	grafana  viewer              91ab…
//
//	# certificate        role
//	cert:ci.example.net  operator
//	cert:Ann Example     viewer
//
// The error names every line that is wrong, and no secret.
func LoadTokens(path string) (*Tokens, error) {
	t := &Tokens{path: path}
	if _, err := t.load(); err != nil {
		return nil, err
	}

	return t, nil
}

// load reads the file; false when it is as it was.
func (t *Tokens) load() (changed bool, err error) {
	content, err := os.ReadFile(t.path)
	if err != nil {
		return false, fmt.Errorf("read tokens: %w", err)
	}

	digest := sha256.Sum256(content)
	if t.now.Load() != nil && digest == t.last {
		return false, nil
	}

	t.last = digest // a mistake is told once

	parsed, err := parseTokens(string(content))
	if err != nil {
		return false, fmt.Errorf("read tokens of %s: %w", t.path, err)
	}

	t.now.Store(&parsed)

	return true, nil
}

// certificatePrefix begins the lines of certificates. A token of such a name cannot be: its line has three fields.
const certificatePrefix = "cert:"

func parseTokens(content string) (lines, error) {
	parsed := lines{certificates: map[string]Role{}}

	var (
		mistakes []error
		number   int
	)

	for line := range strings.Lines(content) {
		number++

		fields := strings.Fields(line)
		if len(fields) == 0 || strings.HasPrefix(fields[0], "#") {
			continue
		}

		add := parsed.addToken
		if strings.HasPrefix(fields[0], certificatePrefix) {
			add = parsed.addCertificate
		}

		if wrong := add(fields); wrong != "" {
			mistakes = append(mistakes, fmt.Errorf("line %d %s", number, wrong))
		}
	}

	return parsed, errors.Join(mistakes...)
}

// addToken says what is wrong with the line; empty when nothing is.
func (l *lines) addToken(fields []string) (wrong string) {
	if len(fields) != 3 {
		return "must be: name role secret"
	}

	role, ok := ParseRole(fields[1])

	switch {
	case !ok || role == Nobody:
		return "has a role that is neither viewer nor operator"
	case len(fields[2]) < leastToken:
		return fmt.Sprintf("has a secret of less than %d characters", leastToken)
	case slices.ContainsFunc(l.tokens, func(t token) bool { return t.name == fields[0] }):
		return "has the name of a line before"
	}

	l.tokens = append(l.tokens, token{fields[0], role, sha256.Sum256([]byte(fields[2]))})

	return ""
}

// addCertificate is addToken for a certificate, whose name may have blanks.
func (l *lines) addCertificate(fields []string) (wrong string) {
	last := len(fields) - 1
	name := strings.TrimPrefix(strings.Join(fields[:last], " "), certificatePrefix)

	role, ok := ParseRole(fields[last])
	_, again := l.certificates[name]

	switch {
	case name == "":
		return "must be: cert:name role"
	case !ok || role == Nobody:
		return "has a role that is neither viewer nor operator"
	case again:
		return "has the certificate of a line before"
	}

	l.certificates[name] = role

	return ""
}

// find compares with every token, so that the time it takes says nothing.
func (t *Tokens) find(secret string) (found token, ok bool) {
	if t == nil {
		return token{}, false
	}

	digest := sha256.Sum256([]byte(secret))

	for _, known := range t.now.Load().tokens {
		if subtle.ConstantTimeCompare(digest[:], known.digest[:]) == 1 {
			found, ok = known, true
		}
	}

	return found, ok
}

// certificate is the role of a client certificate; Nobody when the file does not name it.
func (t *Tokens) certificate(name string) Role {
	if t == nil {
		return Nobody
	}

	return t.now.Load().certificates[name]
}

// Watch takes changes of the file over within a second, until ctx ends. While the file cannot be used the tokens that were
// read last stay valid. It returns nil.
func (t *Tokens) Watch(ctx context.Context, log *slog.Logger) error {
	ticker := time.NewTicker(reloadEvery)
	defer ticker.Stop()

	told := ""

	for {
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return nil
		}

		changed, err := t.load()

		switch {
		case err != nil && err.Error() != told:
			told = err.Error()
			log.ErrorContext(ctx, "tokens are not taken over, those from before stay valid", slog.Any(telemetry.KeyError, err))
		case changed:
			told = ""
			now := t.now.Load()
			log.InfoContext(ctx, "tokens were read again", slog.Int("tokens", len(now.tokens)), slog.Int("certificates", len(now.certificates)))
		}
	}
}

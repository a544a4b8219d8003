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

// Tokens are those of a file. Safe for concurrent use.
type Tokens struct {
	path string

	now  atomic.Pointer[[]token]
	last [sha256.Size]byte // of the file's content; used by Watch alone
}

// LoadTokens reads a file with one token a line:
//
//	# name   role                secret, at least 16 characters
//	ann      operator            3f0c…
//	grafana  viewer              91ab…
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

func parseTokens(content string) ([]token, error) {
	var (
		tokens   []token
		mistakes []error
	)

	mistake := func(line int, what string) { mistakes = append(mistakes, fmt.Errorf("line %d %s", line, what)) }
	number := 0

	for line := range strings.Lines(content) {
		number++

		fields := strings.Fields(line)
		if len(fields) == 0 || strings.HasPrefix(fields[0], "#") {
			continue
		}

		if len(fields) != 3 {
			mistake(number, "must be: name role secret")

			continue
		}

		role, ok := ParseRole(fields[1])

		switch {
		case !ok || role == Nobody:
			mistake(number, "has a role that is neither viewer nor operator")
		case len(fields[2]) < leastToken:
			mistake(number, fmt.Sprintf("has a secret of less than %d characters", leastToken))
		case slices.ContainsFunc(tokens, func(t token) bool { return t.name == fields[0] }):
			mistake(number, "has the name of a line before")
		default:
			tokens = append(tokens, token{fields[0], role, sha256.Sum256([]byte(fields[2]))})
		}
	}

	return tokens, errors.Join(mistakes...)
}

// find compares with every token, so that the time it takes says nothing.
func (t *Tokens) find(secret string) (found token, ok bool) {
	if t == nil {
		return token{}, false
	}

	digest := sha256.Sum256([]byte(secret))

	for _, known := range *t.now.Load() {
		if subtle.ConstantTimeCompare(digest[:], known.digest[:]) == 1 {
			found, ok = known, true
		}
	}

	return found, ok
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
			log.InfoContext(ctx, "tokens were read again", slog.Int("tokens", len(*t.now.Load())))
		}
	}
}

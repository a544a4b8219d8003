package settings

import (
	"fmt"
	"io"
	"log/slog"
	"net/url"
	"regexp"
	"slices"
	"strings"
)

const redacted = "[redacted]"

// hidden keeps a text behind a pointer: what prints unexported fields by reflection, as fmt does, finds an address. Two of
// them cannot be compared with ==, which would compare addresses.
type hidden struct {
	_    [0]func()
	text *string
}

func hide(text string) hidden {
	if text == "" {
		return hidden{}
	}

	return hidden{text: &text}
}

func (h hidden) reveal() string {
	if h.text == nil {
		return ""
	}

	return *h.text
}

// Secret is text that shows itself only to Reveal: fmt, slog, JSON and every other encoder get [redacted], also where it
// stands deep in a struct that is printed as a whole. The zero value is empty.
type Secret struct{ hidden hidden }

// NewSecret hides the text.
func NewSecret(text string) Secret { return Secret{hide(text)} }

// Reveal returns the text. Pass it to the client that needs it and nowhere else.
func (s Secret) Reveal() string { return s.hidden.reveal() }

// IsZero tells whether there is none.
func (s Secret) IsZero() bool { return s.hidden.text == nil }

// String is [redacted]; empty when there is none.
func (s Secret) String() string {
	if s.IsZero() {
		return ""
	}

	return redacted
}

// Format prints String for every verb, %#v too.
func (s Secret) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, s.String()) }

// LogValue is what slog records.
func (s Secret) LogValue() slog.Value { return slog.StringValue(s.String()) }

// MarshalText is what JSON and other text encoders get.
func (s Secret) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// UnmarshalText takes the text.
func (s *Secret) UnmarshalText(text []byte) error {
	s.hidden = hide(string(text))

	return nil
}

// URI is a connection string that shows its scheme, hosts and harmless options, but neither user nor password. Several
// URIs in one comma list (NATS) are allowed. The zero value is empty.
type URI struct{ hidden hidden }

// NewURI hides what is secret in the text.
func NewURI(text string) URI { return URI{hide(text)} }

// Reveal returns the whole connection string. Pass it to the client that needs it and nowhere else.
func (u URI) Reveal() string { return u.hidden.reveal() }

// IsZero tells whether there is none.
func (u URI) IsZero() bool { return u.hidden.text == nil }

// String is the URI without user, password and all options but a few that are known to hold no secret.
func (u URI) String() string {
	parts := uriList(u.Reveal())

	for i, part := range parts {
		parts[i] = redactURI(part)
	}

	return strings.Join(parts, ",")
}

// Format prints String for every verb, %#v too.
func (u URI) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, u.String()) }

// LogValue is what slog records.
func (u URI) LogValue() slog.Value { return slog.StringValue(u.String()) }

// MarshalText is what JSON and other text encoders get.
func (u URI) MarshalText() ([]byte, error) { return []byte(u.String()), nil }

// UnmarshalText takes the text.
func (u *URI) UnmarshalText(text []byte) error {
	u.hidden = hide(string(text))

	return nil
}

// uriList takes a comma list apart. Unless every item begins with the same scheme the text is one URI, whose hosts or
// password hold the commas.
func uriList(text string) []string {
	scheme, _, _ := strings.Cut(text, "://")
	parts := strings.Split(text, ",")

	for _, part := range parts {
		if !strings.HasPrefix(part, scheme+"://") {
			return []string{text}
		}
	}

	return parts
}

// redactURI works on the text, not on a parsed URL: a password with an unescaped character must not be printed
// because it does not parse. Whatever stands before the last @ goes, and what cannot be hosts: without its @ a password
// stands in their place.
func redactURI(raw string) string {
	scheme, rest, found := strings.Cut(raw, "://")
	if !found {
		scheme, rest = "", raw
	} else {
		scheme += "://"
	}

	user := ""
	if at := strings.LastIndexByte(rest, '@'); at >= 0 {
		user, rest = redacted+"@", rest[at+1:]
	}

	hosts, query, _ := strings.Cut(rest, "?")
	list, path, _ := strings.Cut(hosts, "/")

	if rest != "" && !areHosts(list, !found && user == "") {
		return scheme + user + redacted
	}

	if path != "" || strings.HasSuffix(hosts, "/") {
		path = "/" + path
	}

	return scheme + user + list + path + harmlessOptions(query)
}

// areHosts tells whether the text is a comma list of hosts with, or where it must be with, a port.
func areHosts(list string, ported bool) bool {
	pattern := `^([A-Za-z0-9._-]*|\[[0-9A-Fa-f:.]+\])(:[0-9]{1,5})?$`
	if ported {
		pattern = strings.TrimSuffix(pattern, "?$") + "$"
	}

	host := regexp.MustCompile(pattern)

	return !slices.ContainsFunc(strings.Split(list, ","), func(item string) bool { return !host.MatchString(item) })
}

func harmlessOptions(query string) string {
	var kept []string

	for pair := range strings.SplitSeq(query, "&") {
		name, _, _ := strings.Cut(pair, "=")
		if name, err := url.QueryUnescape(name); err == nil && isHarmless(name) {
			kept = append(kept, pair)
		}
	}

	if len(kept) == 0 {
		return ""
	}

	return "?" + strings.Join(kept, "&")
}

func isHarmless(option string) bool {
	switch strings.ToLower(option) {
	case "appname", "authmechanism", "authsource", "directconnection", "readpreference", "replicaset", "retrywrites", "ssl", "tls", "w":
		return true
	default:
		return false
	}
}

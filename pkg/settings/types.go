package settings

import (
	"fmt"
	"io"
	"log/slog"
	"net/url"
	"strconv"
	"strings"
	"time"
)

const redacted = "[redacted]"

// Secret is text that shows itself only to Reveal: fmt, slog and JSON get [redacted].
// Keep it in exported fields: fmt cannot call methods on unexported ones and would print the text.
type Secret string

// Reveal returns the text. Pass it to the client that needs it and nowhere else.
func (s Secret) Reveal() string { return string(s) }

func (s Secret) shown() string {
	if s == "" {
		return ""
	}

	return redacted
}

// Format prints [redacted] for every verb.
func (s Secret) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, s.shown()) }

// LogValue is what slog records.
func (s Secret) LogValue() slog.Value { return slog.StringValue(s.shown()) }

// MarshalText is what JSON and other text encoders get.
func (s Secret) MarshalText() ([]byte, error) { return []byte(s.shown()), nil }

// URI is a connection string that shows its scheme, hosts and harmless options, but neither user nor password.
// Several URIs in one comma list (NATS) are allowed.
type URI string

// Reveal returns the whole connection string. Pass it to the client that needs it and nowhere else.
func (u URI) Reveal() string { return string(u) }

// String is the URI without user, password and all options but a few that are known to hold no secret.
func (u URI) String() string {
	parts := uriList(string(u))

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
// because it does not parse. Whatever stands before the last @ goes.
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

	return scheme + user + hosts + harmlessOptions(query)
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

// Bytes is a size in bytes, written as a plain number or with KiB, MiB, GiB or TiB.
type Bytes int64

// sizeUnits are tried in this order, the longest text first.
func sizeUnits() []struct {
	suffix string
	factor int64
} {
	return []struct {
		suffix string
		factor int64
	}{{"TiB", 1 << 40}, {"GiB", 1 << 30}, {"MiB", 1 << 20}, {"KiB", 1 << 10}, {"B", 1}}
}

// UnmarshalText reads the written form. Decimal units (MB) are refused: nobody agrees on what they mean.
func (b *Bytes) UnmarshalText(text []byte) error {
	number, factor := strings.TrimSpace(string(text)), int64(1)

	for _, unit := range sizeUnits() {
		if cut, found := strings.CutSuffix(number, unit.suffix); found {
			number, factor = strings.TrimSpace(cut), unit.factor

			break
		}
	}

	n, err := strconv.ParseInt(number, 10, 64)
	if err != nil || n < 0 || n > (1<<63-1)/factor {
		return fmt.Errorf("%q is not a size", text)
	}

	*b = Bytes(n * factor)

	return nil
}

// String is the shortest exact written form.
func (b Bytes) String() string {
	for _, unit := range sizeUnits() {
		if n := int64(b); n != 0 && unit.factor > 1 && n%unit.factor == 0 {
			return strconv.FormatInt(n/unit.factor, 10) + unit.suffix
		}
	}

	return strconv.FormatInt(int64(b), 10)
}

// Durations is a comma list of durations, such as 1s,5s,15s.
type Durations []time.Duration

// UnmarshalText reads the comma list; blanks around an item are ignored.
func (d *Durations) UnmarshalText(text []byte) error {
	var list Durations

	for item := range strings.SplitSeq(string(text), ",") {
		duration, err := time.ParseDuration(strings.TrimSpace(item))
		if err != nil {
			return fmt.Errorf("%q is not a duration", item)
		}

		list = append(list, duration)
	}

	*d = list

	return nil
}

// String is the written form.
func (d Durations) String() string {
	items := make([]string, len(d))
	for i, duration := range d {
		items[i] = duration.String()
	}

	return strings.Join(items, ",")
}

package event

import (
	"fmt"
	"strconv"
	"strings"
	"unicode/utf8"
)

const (
	subjectRoot = "cdc."
	markerToken = "m"
	// barrierToken is the whole rest of a subject; an event's has two tokens there.
	barrierToken = "b"

	// escape starts an escaped byte, %2E; alone it is the empty name.
	escape    = '%'
	emptyName = "%"
	hexDigits = "0123456789ABCDEF"

	maxPartitionDigits = 4
)

// Subject is what the subject of a message says.
type Subject struct {
	Flow      string
	Kind      Kind
	Partition int       // of an event or a barrier
	Namespace Namespace // of an event
}

// EventSubject returns the subject of an event's messages:
// cdc.<flow>.<partition>.<db>.<coll>, names escaped.
func EventSubject(flow string, partition int, ns Namespace) string { //nolint:revive // beside MarkerSubject; Subject is what both are parsed to
	var buffer [128]byte // most subjects fit: one allocation, for the result

	return string(appendEventSubject(buffer[:0], flow, partition, ns))
}

func appendEventSubject(b []byte, flow string, partition int, ns Namespace) []byte {
	b = appendPartition(b, flow, partition)
	b = append(b, '.')
	b = appendToken(b, ns.DB)
	b = append(b, '.')

	return appendToken(b, ns.Coll)
}

// SubjectTemplate stands for all event subjects of a flow, where names must be few: in traces.
func SubjectTemplate(flow string) string { return subjectRoot + flow + ".{partition}.{db}.{coll}" }

// MarkerSubject returns the subject of a flow's markers: cdc.<flow>.m.
func MarkerSubject(flow string) string { return subjectRoot + flow + "." + markerToken }

// BarrierSubject returns the subject of a partition's barriers:
// cdc.<flow>.<partition>.b.
func BarrierSubject(flow string, partition int) string {
	return string(appendBarrierSubject(nil, flow, partition))
}

func appendBarrierSubject(b []byte, flow string, partition int) []byte {
	b = appendPartition(b, flow, partition)
	b = append(b, '.')

	return append(b, barrierToken...)
}

// PartitionFilter returns the filter that matches all events and barriers of a
// partition.
func PartitionFilter(flow string, partition int) string {
	return string(appendPartition(nil, flow, partition)) + ".>"
}

// FlowFilter returns the filter that matches all messages of a flow.
func FlowFilter(flow string) string { return subjectRoot + flow + ".>" }

// ParseSubject is the inverse of EventSubject, MarkerSubject and BarrierSubject.
// It accepts only what they return, so that two subjects never mean the same. Errors wrap
// ErrMalformed.
func ParseSubject(subject string) (Subject, error) {
	rest, ok := strings.CutPrefix(subject, subjectRoot)
	if !ok {
		return Subject{}, fmt.Errorf("subject %q: %w: does not start with %s", subject, ErrMalformed, subjectRoot)
	}

	flow, rest, ok := strings.Cut(rest, ".")
	if !ok || flow == "" {
		return Subject{}, fmt.Errorf("subject %q: %w: no flow", subject, ErrMalformed)
	}

	if rest == markerToken {
		return Subject{Flow: flow, Kind: KindMarker}, nil
	}

	number, rest, _ := strings.Cut(rest, ".")

	s := Subject{Flow: flow, Kind: KindEvent}

	if s.Partition, ok = parsePartition(number); !ok {
		return Subject{}, fmt.Errorf("subject %q: %w: %q is no partition", subject, ErrMalformed, number)
	}

	if rest == barrierToken {
		s.Kind = KindBarrier

		return s, nil
	}

	db, coll, _ := strings.Cut(rest, ".")

	if s.Namespace.DB, ok = parseToken(db); !ok {
		return Subject{}, fmt.Errorf("subject %q: %w: %q is no database name", subject, ErrMalformed, db)
	}

	if s.Namespace.Coll, ok = parseToken(coll); !ok {
		return Subject{}, fmt.Errorf("subject %q: %w: %q is no collection name", subject, ErrMalformed, coll)
	}

	return s, nil
}

// appendPartition appends cdc.<flow>.<partition>. The number has two digits at
// least, so that lists of subjects sort by it.
func appendPartition(b []byte, flow string, partition int) []byte {
	b = append(b, subjectRoot...)
	b = append(b, flow...)
	b = append(b, '.')

	if partition < 10 {
		b = append(b, '0')
	}

	return strconv.AppendInt(b, int64(partition), 10)
}

func parsePartition(token string) (int, bool) {
	if len(token) < 2 || len(token) > maxPartitionDigits || (len(token) > 2 && token[0] == '0') {
		return 0, false
	}

	n := 0

	for i := range len(token) {
		if token[i] < '0' || token[i] > '9' {
			return 0, false
		}

		n = 10*n + int(token[i]-'0')
	}

	return n, true
}

// appendToken appends a name as one subject token. Escaped are the characters
// that NATS gives a meaning (nats ADR-6), the escape itself, blanks and control
// characters, and every byte that is not UTF-8; a leading $, which belongs to
// the server's own subjects. The set never changes: subjects are stored.
func appendToken(b []byte, name string) []byte {
	if name == "" {
		return append(b, emptyName...)
	}

	for i := 0; i < len(name); {
		r, size := utf8.DecodeRuneInString(name[i:])
		if mustEscape(r, size) || (i == 0 && r == '$') {
			for _, c := range []byte(name[i : i+size]) {
				b = append(b, escape, hexDigits[c>>4], hexDigits[c&15])
			}
		} else {
			b = append(b, name[i:i+size]...)
		}

		i += size
	}

	return b
}

// mustEscape takes what DecodeRune returns: size 1 beside RuneError is a byte
// that is not UTF-8.
func mustEscape(r rune, size int) bool {
	switch r {
	case '.', '*', '>', escape:
		return true
	case utf8.RuneError:
		return size == 1
	default:
		return r <= ' ' || (r >= 0x7f && r <= 0x9f) // C0, blank, DEL, C1
	}
}

// parseToken is the inverse of appendToken. It allocates for escaped names only.
func parseToken(token string) (string, bool) {
	if token == emptyName {
		return "", true
	}

	if token == "" {
		return "", false
	}

	if plain(token) {
		return token, true
	}

	name := make([]byte, 0, len(token))

	for i := 0; i < len(token); i++ {
		if token[i] != escape {
			name = append(name, token[i])
			continue
		}

		if i+2 >= len(token) {
			return "", false
		}

		high, low := strings.IndexByte(hexDigits, token[i+1]), strings.IndexByte(hexDigits, token[i+2])
		if high < 0 || low < 0 {
			return "", false
		}

		name = append(name, byte(high<<4|low)) //nolint:gosec // two hexadecimal digits
		i += 2
	}

	// A token that its name would not be given back was not written here.
	if string(appendToken(make([]byte, 0, len(token)), string(name))) != token {
		return "", false
	}

	return string(name), true
}

// plain tells whether a token is the name itself, by a test that errs on the
// slow side.
func plain(token string) bool {
	if token[0] == '$' {
		return false
	}

	for i := range len(token) {
		c := token[i]
		if c <= ' ' || c >= 0x7f || c == '.' || c == '*' || c == '>' || c == escape {
			return false
		}
	}

	return true
}

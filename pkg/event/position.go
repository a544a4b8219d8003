package event

import (
	"cmp"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// Position is a place in the source's order of changes. The cluster time alone
// is no key: the events of one transaction, and since MongoDB 8.0 those of one
// insertMany, share it. The zero Position is before every event.
type Position struct {
	T       uint32 // clusterTime.T, seconds since the Unix epoch
	I       uint32 // clusterTime.I, number of the operation in that second
	Ordinal uint32 // number of the event among all of that cluster time, from 0
}

// Compare orders positions: negative if p is before q, 0 if they are the same.
func (p Position) Compare(q Position) int {
	return cmp.Or(cmp.Compare(p.T, q.T), cmp.Compare(p.I, q.I), cmp.Compare(p.Ordinal, q.Ordinal))
}

// Before tells whether p comes before q.
func (p Position) Before(q Position) bool { return p.Compare(q) < 0 }

// IsZero tells whether p is before every event.
func (p Position) IsZero() bool { return p == Position{} }

// Time returns the cluster time as wall time of the source, to the second.
func (p Position) Time() time.Time { return time.Unix(int64(p.T), 0) }

// String returns the header form "T.I.ordinal".
func (p Position) String() string {
	return string(p.appendTo(make([]byte, 0, 32)))
}

func (p Position) appendTo(b []byte) []byte {
	b = strconv.AppendUint(b, uint64(p.T), 10)
	b = append(b, '.')
	b = strconv.AppendUint(b, uint64(p.I), 10)
	b = append(b, '.')
	b = strconv.AppendUint(b, uint64(p.Ordinal), 10)

	return b
}

// ParsePosition is the inverse of String. It returns ErrMalformed.
func ParsePosition(s string) (Position, error) {
	var parts [3]uint32

	rest := s
	for i := range parts {
		token, tail, found := strings.Cut(rest, ".")
		if found != (i < 2) {
			return Position{}, fmt.Errorf("position %q: %w", s, ErrMalformed)
		}

		n, err := strconv.ParseUint(token, 10, 32)
		if err != nil {
			return Position{}, fmt.Errorf("position %q: %w", s, ErrMalformed)
		}

		parts[i], rest = uint32(n), tail
	}

	return Position{T: parts[0], I: parts[1], Ordinal: parts[2]}, nil
}

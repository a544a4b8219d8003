package event

import (
	"encoding/hex"
	"fmt"
)

// UUID identifies a collection: a new one of the same name has another, a renamed
// one keeps its own. The zero UUID stands for one that is not known.
type UUID [16]byte

// ParseUUID reads the 16 bytes of a UUID; none are the zero UUID. Errors wrap
// ErrMalformed.
func ParseUUID(b []byte) (UUID, error) {
	var u UUID
	if len(b) == 0 {
		return u, nil
	}

	err := u.set(b)

	return u, err
}

func (u *UUID) set(b []byte) error {
	if len(b) != len(u) {
		return fmt.Errorf("%w: %d bytes are no UUID", ErrMalformed, len(b))
	}

	copy(u[:], b)

	return nil
}

// IsZero tells whether the UUID is not known.
func (u UUID) IsZero() bool { return u == UUID{} }

// Bytes returns the 16 bytes; nil if the UUID is not known.
func (u UUID) Bytes() []byte {
	if u.IsZero() {
		return nil
	}

	return u[:]
}

// String returns the usual form with hyphens; empty if the UUID is not known.
func (u UUID) String() string {
	if u.IsZero() {
		return ""
	}

	s := hex.EncodeToString(u[:])

	return s[:8] + "-" + s[8:12] + "-" + s[12:16] + "-" + s[16:20] + "-" + s[20:]
}

package event

import "fmt"

// Pin says why all events of a collection go through one partition, which they
// do in the order of the source, and what their reader has to take care of.
type Pin uint8

// The reasons for pinning. A collection that is capped and has a collation is
// pinned as capped.
const (
	// PinNone is: the events are spread by document.
	PinNone Pin = 0
	// PinCollation is: under the default collation documents may be one although
	// their _ids differ in bytes.
	PinCollation Pin = 1
	// PinCapped is: insertion order is part of what the collection holds, and it
	// cannot be written in a transaction.
	PinCapped Pin = 2
)

// String returns the form of the header; empty for PinNone.
func (p Pin) String() string {
	switch p {
	case PinCollation:
		return "collation"
	case PinCapped:
		return "capped"
	default:
		return ""
	}
}

// ParsePin is the inverse of String. Errors wrap ErrMalformed.
func ParsePin(s string) (Pin, error) {
	for _, p := range [...]Pin{PinNone, PinCollation, PinCapped} {
		if s == p.String() {
			return p, nil
		}
	}

	return PinNone, fmt.Errorf("%w: %.20q is no reason to pin a collection", ErrMalformed, s)
}

package telemetry

import (
	"strings"

	"github.com/nats-io/nats.go"
)

// HeaderCarrier lets a propagator read and write the headers of a NATS message. Header names of NATS are
// case-sensitive, and other writers spell traceparent in their own ways: names are written in lower case, as W3C has
// them, and read in any case.
type HeaderCarrier nats.Header

// Get returns the first value of the header, or nothing.
func (c HeaderCarrier) Get(key string) string {
	if values := c[strings.ToLower(key)]; len(values) > 0 {
		return values[0]
	}

	for name, values := range c {
		if strings.EqualFold(name, key) && len(values) > 0 {
			return values[0]
		}
	}

	return ""
}

// Set replaces the header, whatever its case was.
func (c HeaderCarrier) Set(key, value string) {
	for name := range c {
		if strings.EqualFold(name, key) {
			delete(c, name)
		}
	}

	c[strings.ToLower(key)] = []string{value}
}

// Keys lists the names of the headers, in lower case.
func (c HeaderCarrier) Keys() []string {
	keys := make([]string, 0, len(c))
	for name := range c {
		keys = append(keys, strings.ToLower(name))
	}

	return keys
}

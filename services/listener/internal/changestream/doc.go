// Package changestream reads the source: it opens the deployment's change
// stream after a token, hands out whole events, and tells errors that pass from
// those that an operator has to settle.
package changestream

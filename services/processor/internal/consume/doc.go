// Package consume reads a partition: it pulls the messages of an ownership's
// consumer, checks that nothing is missing, foreign or repeated, and hands out
// whole events.
package consume

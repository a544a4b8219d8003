// Package views looks at one flow in every way there is, and compares what they tell: the page in a browser, relayctl in a
// terminal and for programs, Prometheus, and what lies beneath them.
package views

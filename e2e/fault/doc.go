// Package fault breaks things while the relay works: one type per kind of failure.
package fault

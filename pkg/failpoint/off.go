//go:build !failpoints

package failpoint

// Built tells whether this build has failpoints.
const Built = false

// Pass is passed by a goroutine that cannot return an error here.
func Pass(Point) {}

// Error is passed by a goroutine that returns the error, if there is one.
func Error(Point) error { return nil }

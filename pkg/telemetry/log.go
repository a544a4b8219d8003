// Package telemetry makes the logger, the tracer and the build information that every process shows the same way.
package telemetry

import (
	"io"
	"log/slog"
	"os"
	"time"

	"github.com/lmittmann/tint"
)

// NewLogger writes lines of the level and above to w: as JSON, or, for format "text", for people, with colours when w is
// a terminal. Every line carries the service's name.
func NewLogger(w io.Writer, service string, level slog.Level, format string) *slog.Logger {
	var handler slog.Handler = slog.NewJSONHandler(w, &slog.HandlerOptions{Level: level})
	if format == "text" {
		handler = tint.NewTextHandler(w, &tint.Options{Level: level, TimeFormat: time.TimeOnly, NoColor: !isTerminal(w)})
	}

	return slog.New(handler).With(slog.String(KeyService, service))
}

func isTerminal(w io.Writer) bool {
	file, ok := w.(*os.File)
	if !ok {
		return false
	}

	info, err := file.Stat()

	return err == nil && info.Mode()&os.ModeCharDevice != 0
}

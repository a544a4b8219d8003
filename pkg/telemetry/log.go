// Package telemetry makes the logger, the tracer and the build information that every process shows the same way.
package telemetry

import (
	"context"
	"io"
	"log/slog"
	"os"
	"time"

	"github.com/lmittmann/tint"
	"go.opentelemetry.io/otel/trace"
)

// NewLogger writes lines of the level and above to w: as JSON, or, for format "text", for people, with colours when w is
// a terminal. Every line carries the service's name, and the ids of the sampled span whose context it is logged with.
func NewLogger(w io.Writer, service string, level slog.Level, format string) *slog.Logger {
	var handler slog.Handler = slog.NewJSONHandler(w, &slog.HandlerOptions{Level: level})
	if format == "text" {
		handler = tint.NewTextHandler(w, &tint.Options{Level: level, TimeFormat: time.TimeOnly, NoColor: !isTerminal(w)})
	}

	return slog.New(inSpan{handler}).With(slog.String(KeyService, service))
}

// inSpan adds to a line the span that it is written in.
type inSpan struct{ slog.Handler }

// Handle implements slog.Handler.
func (h inSpan) Handle(ctx context.Context, line slog.Record) error {
	if span := trace.SpanContextFromContext(ctx); span.IsSampled() {
		line.AddAttrs(slog.String(KeyTraceID, span.TraceID().String()), slog.String(KeySpanID, span.SpanID().String()))
	}

	return h.Handler.Handle(ctx, line)
}

// WithAttrs implements slog.Handler.
func (h inSpan) WithAttrs(attrs []slog.Attr) slog.Handler { return inSpan{h.Handler.WithAttrs(attrs)} }

// WithGroup implements slog.Handler.
func (h inSpan) WithGroup(name string) slog.Handler { return inSpan{h.Handler.WithGroup(name)} }

func isTerminal(w io.Writer) bool {
	file, ok := w.(*os.File)
	if !ok {
		return false
	}

	info, err := file.Stat()

	return err == nil && info.Mode()&os.ModeCharDevice != 0
}

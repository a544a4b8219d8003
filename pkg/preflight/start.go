package preflight

import (
	"context"
	"log/slog"

	"go.mongodb.org/mongo-driver/v2/mongo"

	"github.com/atlas-relay/atlas-relay/pkg/telemetry"
)

// WarnOfSource logs, once, what is not well about a source that answers. It
// refuses nothing: what waiting cannot heal, the listener refuses by itself.
func WarnOfSource(ctx context.Context, client *mongo.Client, log *slog.Logger) {
	w := New(Options{})
	w.source.client, w.source.borrowed = client, true

	w.tell(ctx, &w.source, log, "SRC003", "SRC009", "SRC010")
}

// WarnOfTarget is WarnOfSource of the target.
func WarnOfTarget(ctx context.Context, client *mongo.Client, log *slog.Logger) {
	w := New(Options{})
	w.target.client, w.target.borrowed = client, true

	w.tell(ctx, &w.target, log, "TGT003", "TGT005", "TGT008", "TGT010")
}

func (w *World) tell(ctx context.Context, d *deployment, log *slog.Logger, codes ...string) {
	ctx, cancel := context.WithTimeout(ctx, checkTimeout)
	defer cancel()

	if trouble := d.ask(ctx); trouble != nil {
		return // it went away meanwhile, and will be waited for
	}

	for _, f := range Run(ctx, w, pick(codes...)) {
		if f.Status == Warning || f.Status == Failed {
			log.WarnContext(ctx, "a check at start found something", slog.String("code", f.Code), slog.String("found", f.What),
				slog.String(telemetry.KeyReason, f.Why), slog.String(telemetry.KeyRemedy, f.Remedy))
		}
	}
}

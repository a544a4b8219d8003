package tlsfiles

import (
	"context"
	"log/slog"
	"time"
)

const (
	// lookEvery is how soon a change of a file counts.
	lookEvery = time.Second
	// remindEvery is how often the log repeats that a certificate should have been renewed.
	remindEvery = 24 * time.Hour
)

// Watch takes changes of the files over within a second, until ctx ends. It returns nil.
func (s *Store) Watch(ctx context.Context, log *slog.Logger) error {
	ticker := time.NewTicker(lookEvery)
	defer ticker.Stop()

	w := watch{store: s, log: log, reminded: map[string]time.Time{}}

	for {
		w.remind(ctx)

		select {
		case <-ticker.C:
			w.look(ctx)
		case <-ctx.Done():
			return nil
		}
	}
}

type watch struct {
	store *Store
	log   *slog.Logger

	doubt, told string               // what was wrong at the last look, and what the log has
	reminded    map[string]time.Time // by setting
}

// look tells what is wrong at the second look at it: whoever writes a certificate and then its key is between the two at
// the first.
func (w *watch) look(ctx context.Context) {
	changed, err := w.store.Refresh()
	if err == nil {
		w.doubt, w.told = "", ""
		w.store.rejected.Store(false)

		if changed {
			w.tellChange(ctx)
		}

		return
	}

	wrong := err.Error()
	if wrong == w.doubt && wrong != w.told {
		w.told = wrong
		w.store.rejected.Store(true)
		w.log.ErrorContext(ctx, "certificate files are not taken over, those from before stay valid", slog.Any("error", err))
	}

	w.doubt = wrong
}

func (w *watch) tellChange(ctx context.Context) {
	clear(w.reminded)

	for _, e := range w.store.now.Load().ends {
		w.log.InfoContext(ctx, "certificate file was read again", slog.String("setting", e.setting), slog.Time("not_after", e.after))
	}
}

func (w *watch) remind(ctx context.Context) {
	now := time.Now()

	for _, e := range w.store.now.Load().ends {
		if now.Before(e.due()) || now.Sub(w.reminded[e.setting]) < remindEvery {
			continue
		}

		w.reminded[e.setting] = now
		left := e.after.Sub(now)
		attrs := []any{slog.String("setting", e.setting), slog.Time("not_after", e.after), slog.Duration("left", left)}

		if left < 0 {
			w.log.ErrorContext(ctx, "certificate has expired", attrs...)
		} else {
			w.log.WarnContext(ctx, "certificate should have been renewed by now", attrs...)
		}
	}
}

package service

import (
	"context"

	"github.com/atlas-relay/atlas-relay/pkg/lifecycle"
	"github.com/atlas-relay/atlas-relay/pkg/natsconn"
	"github.com/atlas-relay/atlas-relay/pkg/settings"
	"github.com/atlas-relay/atlas-relay/pkg/tlsfiles"
)

// watchNATS tells of the certificates for NATS when they have to be renewed. Each connection reads them for itself.
func watchNATS(cfg *settings.Common, p *Process) ([]lifecycle.Task, error) {
	files := natsconn.Files(cfg.NATS)
	if files.None() {
		return nil, nil
	}

	store, err := tlsfiles.Open(files)
	if err != nil {
		return nil, &refusedError{err}
	}

	return []lifecycle.Task{p.WatchFiles("nats certificates", store)}, nil
}

// WatchFiles registers the metrics of the files and returns the task that keeps them up to date.
func (p *Process) WatchFiles(name string, store *tlsfiles.Store) lifecycle.Task {
	p.Metrics.MustRegister(store)

	return lifecycle.Task{Name: name, Run: func(ctx context.Context) error { return store.Watch(ctx, p.Log) }}
}

// refusedError is a file that a setting should not have named.
type refusedError struct{ err error }

func (e *refusedError) Error() string { return e.err.Error() }
func (e *refusedError) Unwrap() error { return e.err }

// ExitCode is 2: configuration refused.
func (*refusedError) ExitCode() int { return 2 }

package preflight

import (
	"context"
	"time"

	"github.com/atlas-relay/atlas-relay/pkg/natsconn"
	"github.com/atlas-relay/atlas-relay/pkg/tlsfiles"
)

func certificateChecks() []Check {
	const (
		why    = "once one has expired, nobody new gets in: what is connected goes on until its next reconnect"
		remedy = "renew it and put it in the place of the old file, which is read again by itself"
	)

	return []Check{
		{
			Code: "TLS001", What: "NATS_CERT and NATS_CA are far from their end", Why: why, Remedy: remedy, Needs: []string{"CFG002"},
			run: func(_ context.Context, w *World) []Finding { return endings(natsconn.Files(w.NATS)) },
		},
		{
			Code: "TLS002", What: "the certificate of nats-server is far from its end", Why: why,
			Remedy: "renew the certificate of nats-server, and have it read again: nats-server --signal reload", Needs: []string{"NTS001"},
			run: serverEnding,
		},
		{
			Code: "TLS003", What: "API_CERT and API_CLIENT_CA are far from their end, where this environment has them", Why: why, Remedy: remedy,
			run: func(_ context.Context, w *World) []Finding { return endings(w.API) },
		},
	}
}

// endings looks into files. One that cannot be used is a finding of its own.
func endings(files tlsfiles.Files) []Finding {
	if files.None() {
		return nil
	}

	store, err := tlsfiles.Open(files)
	if err != nil {
		return one(fail("", "%s", reason(err)).remedy("check the paths, their permissions, and that the key is the certificate's"))
	}

	var found []Finding
	for _, e := range store.Endings() {
		found = append(found, ending(e))
	}

	return found
}

func serverEnding(_ context.Context, w *World) []Finding {
	state, err := w.nc.TLSConnectionState()
	if err != nil {
		return nil // there is no TLS, or no connection any more
	}

	if e, near := tlsfiles.EndingOf(w.natsWhere(), state.PeerCertificates); near {
		return one(ending(e))
	}

	return nil
}

func ending(e tlsfiles.Ending) Finding {
	at := e.At.UTC().Format(time.RFC3339)
	if e.Expired() {
		return fail(e.Setting, "it has expired, at %s", at)
	}

	return warn(e.Setting, "it expires at %s", at)
}

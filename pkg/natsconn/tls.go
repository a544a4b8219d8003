package natsconn

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"log/slog"

	"github.com/nats-io/nats.go"

	"github.com/atlas-relay/atlas-relay/pkg/settings"
	"github.com/atlas-relay/atlas-relay/pkg/tlsfiles"
)

// Files are those that the settings name for TLS.
func Files(at settings.NATS) tlsfiles.Files {
	return tlsfiles.Files{
		Cert: tlsfiles.File{Setting: "NATS_CERT", Path: at.Cert},
		Key:  tlsfiles.File{Setting: "NATS_KEY", Path: at.Key},
		CA:   tlsfiles.File{Setting: "NATS_CA", Path: at.CA},
	}
}

// secure has each connection, the first one and those after an outage, take what the files say then. Files that cannot be
// used any more do not keep a process away from its server: what they said before is tried on.
func secure(files tlsfiles.Files, log *slog.Logger) ([]nats.Option, error) {
	if files.None() {
		return nil, nil
	}

	store, err := tlsfiles.Open(files)
	if err != nil {
		return nil, fmt.Errorf("read the TLS files of NATS: %w", err)
	}

	renewed := func() *tlsfiles.Store {
		if _, err := store.Refresh(); err != nil {
			log.Error("TLS files of NATS are not taken over, those from before are used", slog.Any("error", err))
		}

		return store
	}

	var certificate nats.TLSCertHandler
	if files.Cert.Path != "" {
		certificate = func() (tls.Certificate, error) { return renewed().Certificate(), nil }
	}

	var authorities nats.RootCAsHandler
	if files.CA.Path != "" {
		authorities = func() (*x509.CertPool, error) { return renewed().Authorities(), nil }
	}

	return []nats.Option{nats.ClientTLSConfig(certificate, authorities)}, nil
}

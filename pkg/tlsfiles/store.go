package tlsfiles

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"sync"
	"sync/atomic"
	"time"
)

// Store holds what the files said when they could last be used. Safe for concurrent use.
type Store struct {
	files    Files
	now      atomic.Pointer[material]
	rejected atomic.Bool // the files are others now and cannot be used; written by Watch

	refreshing sync.Mutex
}

// Open reads the files. A certificate that has expired is no error: whoever is asked with it sees that better than somebody
// who finds nobody there.
func Open(files Files) (*Store, error) {
	content, digest, err := files.read()
	if err != nil {
		return nil, err
	}

	m, err := files.parse(content, digest)
	if err != nil {
		return nil, err
	}

	s := &Store{files: files}
	s.now.Store(m)

	return s, nil
}

// Refresh takes the files over if they have changed. Where it returns an error, what was read before stays valid.
func (s *Store) Refresh() (changed bool, err error) {
	s.refreshing.Lock()
	defer s.refreshing.Unlock()

	content, digest, err := s.files.read()
	if err != nil {
		return false, err
	}

	if digest == s.now.Load().digest {
		return false, nil
	}

	m, err := s.files.parse(content, digest)
	if err != nil {
		return false, err
	}

	for _, e := range m.ends {
		if time.Now().After(e.after) {
			return false, fmt.Errorf("%s: %w, at %s", e.setting, ErrExpired, e.after.UTC().Format(time.RFC3339))
		}
	}

	s.now.Store(m)

	return true, nil
}

// Server is the configuration of a server: TLS 1.3 with our certificate. Where authorities are given, clients that show a
// certificate must have one of theirs; those that show none are let in, and it is for others to say what they may.
func (s *Store) Server(protocols ...string) *tls.Config {
	return &tls.Config{
		MinVersion: tls.VersionTLS13,
		NextProtos: protocols,
		GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) {
			now := s.now.Load()
			config := &tls.Config{
				MinVersion:   tls.VersionTLS13,
				NextProtos:   protocols,
				Certificates: []tls.Certificate{*now.certificate},
				// A resumed session would outlive the authority that its client's certificate was checked with.
				SessionTicketsDisabled: true,
			}

			if now.authorities != nil {
				config.ClientAuth, config.ClientCAs = tls.VerifyClientCertIfGiven, now.authorities
			}

			return config, nil
		},
	}
}

// Client is the configuration of a client: authorities of this host unless there are own ones, and our certificate whatever
// the server would like to see, so that it can say what is wrong with it. An empty name is that of the address.
func (s *Store) Client(serverName string) *tls.Config {
	now := s.now.Load()
	config := &tls.Config{MinVersion: tls.VersionTLS12, ServerName: serverName, RootCAs: now.authorities}

	if now.certificate != nil {
		config.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return now.certificate, nil }
	}

	return config
}

// Certificate is ours; the zero value without one.
func (s *Store) Certificate() tls.Certificate {
	if now := s.now.Load(); now.certificate != nil {
		return *now.certificate
	}

	return tls.Certificate{}
}

// Authorities are those that sign the other end's certificate; nil for those of this host.
func (s *Store) Authorities() *x509.CertPool { return s.now.Load().authorities }

// Expired says which certificate is no longer valid; nil when all are. See ErrExpired.
func (s *Store) Expired() error {
	for _, e := range s.now.Load().ends {
		if time.Now().After(e.after) {
			return fmt.Errorf("%s: %w, at %s", e.setting, ErrExpired, e.after.UTC().Format(time.RFC3339))
		}
	}

	return nil
}

// IsFor tells whether our certificate is for this host.
func (s *Store) IsFor(host string) bool {
	now := s.now.Load()

	return now.certificate != nil && now.certificate.Leaf.VerifyHostname(host) == nil
}

// Name is who a certificate is of: its common name, else the first of its other names; empty when it has none.
func Name(certificate *x509.Certificate) string {
	switch {
	case certificate.Subject.CommonName != "":
		return certificate.Subject.CommonName
	case len(certificate.DNSNames) > 0:
		return certificate.DNSNames[0]
	case len(certificate.EmailAddresses) > 0:
		return certificate.EmailAddresses[0]
	case len(certificate.URIs) > 0:
		return certificate.URIs[0].String()
	case len(certificate.IPAddresses) > 0:
		return certificate.IPAddresses[0].String()
	default:
		return ""
	}
}

// PeerName is Name of the other end, if its certificate was verified; empty otherwise.
func PeerName(state *tls.ConnectionState) string {
	if state == nil || len(state.VerifiedChains) == 0 {
		return ""
	}

	return Name(state.VerifiedChains[0][0])
}

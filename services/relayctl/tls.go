package main

import (
	"cmp"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/atlas-relay/atlas-relay/pkg/tlsfiles"
)

// Variables that say how the stats service is reached over TLS.
const (
	tlsVariable        = "STATS_TLS"
	caVariable         = "STATS_CA"
	certVariable       = "STATS_CERT"
	keyVariable        = "STATS_KEY"
	serverNameVariable = "STATS_SERVER_NAME"
)

// tlsFlags are what flags and environment say of TLS.
type tlsFlags struct {
	on                        bool
	ca, cert, key, serverName string
}

func (f *tlsFlags) add(cmd *cobra.Command, environ map[string]string) {
	cmd.Flags().BoolVar(&f.on, "tls", environ[tlsVariable] == "true", "speak TLS, and trust whom this host trusts ("+tlsVariable+"=true); any of the four below says it, too")
	cmd.Flags().StringVar(&f.ca, "tls-ca", environ[caVariable], "path of the PEM bundle that signs the stats service's certificate ("+caVariable+")")
	cmd.Flags().StringVar(&f.cert, "tls-cert", environ[certVariable], "path of our own PEM certificate, where the service wants one ("+certVariable+")")
	cmd.Flags().StringVar(&f.key, "tls-key", environ[keyVariable], "path of the PEM key of --tls-cert ("+keyVariable+")")
	cmd.Flags().StringVar(&f.serverName, "tls-server-name", environ[serverNameVariable], "name that the service's certificate is for, where --server says another, a tunnel for example ("+serverNameVariable+")")
}

// wanted tells whether the service is spoken to over TLS.
func (f *tlsFlags) wanted() bool {
	return f.on || f.ca != "" || f.cert != "" || f.key != "" || f.serverName != ""
}

// open reads the files.
func (f *tlsFlags) open(server string) (*way, error) {
	if !f.wanted() {
		return newPlainWay(server), nil
	}

	if (f.cert == "") != (f.key == "") {
		return nil, &refusedError{what: "--tls-cert and --tls-key come together", next: "give both, or " + certVariable + " and " + keyVariable}
	}

	store, err := tlsfiles.Open(tlsfiles.Files{
		Cert: tlsfiles.File{Setting: "--tls-cert", Path: f.cert},
		Key:  tlsfiles.File{Setting: "--tls-key", Path: f.key},
		CA:   tlsfiles.File{Setting: "--tls-ca", Path: f.ca},
	})
	if err == nil {
		err = store.Expired()
	}

	switch {
	case errors.Is(err, tlsfiles.ErrExpired):
		return nil, &refusedError{what: err.Error(), next: "have it renewed: the stats service refuses it"}
	case err != nil:
		return nil, &refusedError{what: err.Error(), next: "check the paths, their permissions, and that the key is the certificate's"}
	default:
		return newTLSWay(server, store.Client(f.serverName)), nil
	}
}

// explainTLS says what a fault means and what to do; nil for none.
func explainTLS(found tlsfiles.Diagnosis, server string) error {
	at := "the stats service at " + server

	switch found.Fault {
	case tlsfiles.None:
		return nil
	case tlsfiles.NotTLS:
		return &refusedError{
			what: at + " does not speak TLS",
			next: "leave out --tls and --tls-… (STATS_…), or set API_CERT and API_KEY of the service",
		}
	case tlsfiles.UnknownAuthority:
		return &refusedError{
			what: at + " has a certificate of an authority that nobody here knows: " + found.Detail,
			next: "give that authority's certificate with --tls-ca (" + caVariable + ")",
		}
	case tlsfiles.OtherName:
		return &refusedError{
			what: fmt.Sprintf("the certificate of %s is for other hosts: %s", at, cmp.Or(found.Detail, "none")),
			next: "use one of these names in --server, or --tls-server-name where a tunnel leads there",
		}
	case tlsfiles.Expired:
		return &refusedError{
			what: "the certificate of " + at + " has expired, at " + found.Detail,
			next: "renew API_CERT of the service, which reads it again by itself; check the clock of this host",
		}
	case tlsfiles.NotYetValid:
		return &refusedError{what: "the certificate of " + at + " is not valid before " + found.Detail, next: "check the clock of this host"}
	case tlsfiles.CertificateAsked:
		return &refusedError{what: at + " wants a client's certificate", next: "give one with --tls-cert and --tls-key (" + certVariable + ", " + keyVariable + ")"}
	case tlsfiles.CertificateBad:
		return &refusedError{
			what: at + " does not take our certificate: " + found.Detail,
			next: "compare --tls-cert with API_CLIENT_CA of the service: openssl verify -CAfile API_CLIENT_CA CERT",
		}
	default:
		return nil
	}
}

// errSpeaksTLS is a server that was asked without TLS and has it.
func errSpeaksTLS(server string) error {
	return &refusedError{
		what: "the stats service at " + server + " speaks TLS, and was asked without",
		next: "add --tls-ca FILE (" + caVariable + ") with the authority of its certificate, or --tls where this host trusts that already",
	}
}

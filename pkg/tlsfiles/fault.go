package tlsfiles

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net"
	"reflect"
	"strings"
	"time"
)

// Fault is why a client and a server do not come together over TLS.
type Fault int

// The faults, as a client sees them.
const (
	None             Fault = iota // none, or none of TLS
	NotTLS                        // the server answers without TLS
	UnknownAuthority              // nobody whom we trust has signed the server's certificate
	OtherName                     // the server's certificate is for other hosts
	Expired                       // the server's certificate has expired
	NotYetValid                   // it is not valid yet
	CertificateAsked              // the server wants a client's certificate and got none
	CertificateBad                // the server does not take our certificate
)

// Diagnosis is a fault and its details: names of hosts, an authority, a time, or what the server says.
type Diagnosis struct {
	Fault  Fault
	Detail string
}

// Diagnose judges an error of a handshake, or of the first read after it: with TLS 1.3 a server speaks of a client's
// certificate only then.
func Diagnose(err error) Diagnosis {
	if record, ok := errors.AsType[tls.RecordHeaderError](err); ok {
		return Diagnosis{NotTLS, record.Msg}
	}

	if unknown, ok := errors.AsType[x509.UnknownAuthorityError](err); ok {
		return Diagnosis{UnknownAuthority, issuer(unknown.Cert)}
	}

	if name, ok := errors.AsType[x509.HostnameError](err); ok {
		return Diagnosis{OtherName, strings.Join(hosts(name.Certificate), ", ")}
	}

	invalid, ok := errors.AsType[x509.CertificateInvalidError](err)
	if ok && invalid.Reason == x509.Expired && invalid.Cert != nil {
		if time.Now().Before(invalid.Cert.NotBefore) {
			return Diagnosis{NotYetValid, invalid.Cert.NotBefore.UTC().Format(time.RFC3339)}
		}

		return Diagnosis{Expired, invalid.Cert.NotAfter.UTC().Format(time.RFC3339)}
	}

	return diagnoseAlert(err)
}

// Alerts of RFC 8446 that are about a client's certificate.
const (
	alertBadCertificate      = 42
	alertUnknownCA           = 48
	alertCertificateRequired = 116
)

// diagnoseAlert reads what the other end sent as its last word. The type of alerts is not exported; it is a number.
func diagnoseAlert(err error) Diagnosis {
	op, ok := errors.AsType[*net.OpError](err)
	if !ok || op.Op != "remote error" || op.Err == nil {
		return Diagnosis{}
	}

	alert := reflect.ValueOf(op.Err)
	if alert.Kind() != reflect.Uint8 {
		return Diagnosis{}
	}

	switch number := alert.Uint(); {
	case number == alertCertificateRequired:
		return Diagnosis{CertificateAsked, op.Err.Error()}
	case number >= alertBadCertificate && number <= alertUnknownCA:
		return Diagnosis{CertificateBad, op.Err.Error()}
	default:
		return Diagnosis{}
	}
}

func issuer(certificate *x509.Certificate) string {
	if certificate == nil {
		return "an unnamed one"
	}

	if name := certificate.Issuer.String(); name != "" {
		return name
	}

	return "an unnamed one"
}

func hosts(certificate *x509.Certificate) []string {
	names := append([]string{}, certificate.DNSNames...)
	for _, ip := range certificate.IPAddresses {
		names = append(names, ip.String())
	}

	if len(names) == 0 {
		names = append(names, "no host at all")
	}

	return names
}

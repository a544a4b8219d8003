package tlsfiles

import (
	"bytes"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"os"
	"time"
)

// File is a PEM file and the setting that names it. One that is not given has no path.
type File struct{ Setting, Path string }

// Files are those of one end of a connection.
type Files struct {
	Cert File // our certificate, then those of the authorities between it and the root
	Key  File // its key
	CA   File // the authorities that sign the certificates of the other end
}

// None tells whether no file is given.
func (f Files) None() bool { return f.Cert.Path == "" && f.CA.Path == "" }

// ErrExpired says that a certificate is no longer valid, by this host's clock.
var ErrExpired = errors.New("the certificate has expired")

// material is what the files say.
type material struct {
	digest      [sha256.Size]byte
	certificate *tls.Certificate // nil without Cert
	authorities *x509.CertPool   // nil without CA
	ends        []end
}

// end is when the certificates of a file are no longer of use.
type end struct {
	setting       string
	begins, after time.Time
}

// contents of the three files; nil for one that is not given.
type contents struct{ cert, key, ca []byte }

func (f Files) read() (c contents, digest [sha256.Size]byte, err error) {
	sum := sha256.New()

	for _, part := range []struct {
		file File
		into *[]byte
	}{{f.Cert, &c.cert}, {f.Key, &c.key}, {f.CA, &c.ca}} {
		if part.file.Path == "" {
			continue
		}

		content, err := os.ReadFile(part.file.Path)
		if err != nil {
			return c, digest, fmt.Errorf("%s: %w", part.file.Setting, err)
		}

		*part.into = content
		fmt.Fprintf(sum, "%d ", len(content))
		sum.Write(content)
	}

	sum.Sum(digest[:0])

	return c, digest, nil
}

// parse makes sense of the files. Expired certificates are no mistake here.
func (f Files) parse(c contents, digest [sha256.Size]byte) (*material, error) {
	m := &material{digest: digest}

	if f.Cert.Path != "" {
		pair, err := tls.X509KeyPair(c.cert, c.key)
		if err != nil {
			return nil, fmt.Errorf("%s (%s) and %s (%s): %w", f.Cert.Setting, f.Cert.Path, f.Key.Setting, f.Key.Path, err)
		}

		chain, err := parseCertificates(f.Cert, c.cert)
		if err != nil {
			return nil, err
		}

		m.certificate = &pair
		m.ends = append(m.ends, firstEnd(f.Cert.Setting, chain))
	}

	if f.CA.Path != "" {
		authorities, err := parseCertificates(f.CA, c.ca)
		if err != nil {
			return nil, err
		}

		m.authorities = x509.NewCertPool()
		for _, authority := range authorities {
			m.authorities.AddCert(authority)
		}

		m.ends = append(m.ends, lastEnd(f.CA.Setting, authorities))
	}

	return m, nil
}

// parseCertificates does not pass over what it cannot read, as CertPool.AppendCertsFromPEM does.
func parseCertificates(file File, content []byte) ([]*x509.Certificate, error) {
	var certificates []*x509.Certificate

	for block, rest := pem.Decode(content); block != nil; block, rest = pem.Decode(rest) {
		if block.Type != "CERTIFICATE" {
			continue // a key may stand beside its certificate
		}

		certificate, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, fmt.Errorf("%s (%s): %w", file.Setting, file.Path, err)
		}

		certificates = append(certificates, certificate)
	}

	if len(certificates) == 0 {
		return nil, fmt.Errorf("%s (%s): no PEM block CERTIFICATE in its %d bytes", file.Setting, file.Path, len(bytes.TrimSpace(content)))
	}

	return certificates, nil
}

// firstEnd is of a chain: it is worth nothing as soon as one certificate of it has expired.
func firstEnd(setting string, chain []*x509.Certificate) end {
	first := end{setting, chain[0].NotBefore, chain[0].NotAfter}

	for _, certificate := range chain {
		if certificate.NotAfter.Before(first.after) {
			first.begins, first.after = certificate.NotBefore, certificate.NotAfter
		}
	}

	return first
}

// lastEnd is of a bundle, which may hold an old authority beside the new one.
func lastEnd(setting string, bundle []*x509.Certificate) end {
	last := end{setting, bundle[0].NotBefore, bundle[0].NotAfter}

	for _, certificate := range bundle {
		if certificate.NotAfter.After(last.after) {
			last.begins, last.after = certificate.NotBefore, certificate.NotAfter
		}
	}

	return last
}

// longestNotice is how long before its end a certificate of a year or more should have been renewed.
const longestNotice = 30 * 24 * time.Hour

// due is from when on the certificate should have been renewed: what renews by itself does so with a third of the life left.
func (e end) due() time.Time {
	const quarter = 4

	return e.after.Add(-min(longestNotice, e.after.Sub(e.begins)/quarter))
}

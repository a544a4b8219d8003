// Package tlstest makes certificates for tests: of any authority, for any host, valid at any time.
package tlstest

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// Authority signs certificates.
type Authority struct {
	certificate *x509.Certificate
	key         *ecdsa.PrivateKey
	pem         []byte
}

// NewAuthority makes an authority of this name that is valid for ten years.
func NewAuthority(tb testing.TB, name string) *Authority {
	tb.Helper()

	const years = 10

	key := newKey(tb)
	template := &x509.Certificate{
		SerialNumber: serial(tb), Subject: pkix.Name{CommonName: name},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().AddDate(years, 0, 0),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}

	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	require.NoError(tb, err)

	certificate, err := x509.ParseCertificate(der)
	require.NoError(tb, err)

	return &Authority{certificate: certificate, key: key, pem: encode("CERTIFICATE", der)}
}

// PEM is the authority's own certificate.
func (a *Authority) PEM() []byte { return a.pem }

// Pool has the authority and nobody else.
func (a *Authority) Pool() *x509.CertPool {
	pool := x509.NewCertPool()
	pool.AddCert(a.certificate)

	return pool
}

// Wanted says what a certificate is to be. The zero value is one of nobody, for 127.0.0.1 and localhost, from an hour ago
// until in a year, of servers and clients alike.
type Wanted struct {
	CommonName string
	Hosts      []string // names and addresses
	From, To   time.Time
}

// Pair is a certificate and its key, as PEM.
type Pair struct{ Cert, Key []byte }

// Issue signs a certificate.
func (a *Authority) Issue(tb testing.TB, w Wanted) Pair {
	tb.Helper()

	if w.Hosts == nil {
		w.Hosts = []string{"127.0.0.1", "localhost"}
	}

	if w.From.IsZero() {
		w.From = time.Now().Add(-time.Hour)
	}

	if w.To.IsZero() {
		w.To = time.Now().AddDate(1, 0, 0)
	}

	template := &x509.Certificate{
		SerialNumber: serial(tb), Subject: pkix.Name{CommonName: w.CommonName}, NotBefore: w.From, NotAfter: w.To,
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}

	for _, host := range w.Hosts {
		if ip := net.ParseIP(host); ip != nil {
			template.IPAddresses = append(template.IPAddresses, ip)
		} else {
			template.DNSNames = append(template.DNSNames, host)
		}
	}

	key := newKey(tb)
	der, err := x509.CreateCertificate(rand.Reader, template, a.certificate, key.Public(), a.key)
	require.NoError(tb, err)

	private, err := x509.MarshalPKCS8PrivateKey(key)
	require.NoError(tb, err)

	return Pair{Cert: encode("CERTIFICATE", der), Key: encode("PRIVATE KEY", private)}
}

// Certificate is the pair for use within this process.
func (p Pair) Certificate(tb testing.TB) tls.Certificate {
	tb.Helper()

	certificate, err := tls.X509KeyPair(p.Cert, p.Key)
	require.NoError(tb, err)

	return certificate
}

// Write puts the pair into two files of the directory, in the place of those that are there.
func (p Pair) Write(tb testing.TB, dir, name string) (cert, key string) {
	tb.Helper()

	return Write(tb, dir, name+".pem", p.Cert), Write(tb, dir, name+".key", p.Key)
}

// Write puts content into a file in one step: nobody reads half of it.
func Write(tb testing.TB, dir, name string, content []byte) (path string) {
	tb.Helper()

	path = filepath.Join(dir, name)
	require.NoError(tb, os.WriteFile(path+".new", content, 0o600))
	require.NoError(tb, os.Rename(path+".new", path))

	return path
}

func newKey(tb testing.TB) *ecdsa.PrivateKey {
	tb.Helper()

	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(tb, err)

	return key
}

func serial(tb testing.TB) *big.Int {
	tb.Helper()

	const bits = 100

	number, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), bits))
	require.NoError(tb, err)

	return number
}

func encode(kind string, der []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der})
}

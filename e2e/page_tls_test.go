package e2e_test

import (
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"
	"github.com/stretchr/testify/require"
	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/atlas-relay/atlas-relay/pkg/tlstest"
)

// trusting makes a browser take certificates of this authority alone for good, as one that was installed.
func trusting(t *testing.T, authority []byte) chromedp.ExecAllocatorOption {
	t.Helper()

	block, _ := pem.Decode(authority)
	require.NotNil(t, block)

	certificate, err := x509.ParseCertificate(block.Bytes)
	require.NoError(t, err)

	key := sha256.Sum256(certificate.RawSubjectPublicKeyInfo)

	return chromedp.Flag("ignore-certificate-errors-spki-list", base64.StdEncoding.EncodeToString(key[:]))
}

// TestPageOverTLS is a person on another host, at a page with a certificate of the firm's own authority: a browser that
// does not know it shows nothing; one that does asks for a token, once, and then follows the flow and acts on it.
func TestPageOverTLS(t *testing.T) {
	const token = "0123456789abcdef"

	authority, stranger, dir := tlstest.NewAuthority(t, "firm"), tlstest.NewAuthority(t, "stranger"), t.TempDir()
	pair := authority.Issue(t, tlstest.Wanted{})
	pair.Cert = append(pair.Cert, authority.PEM()...)
	cert, key := pair.Write(t, dir, "server")

	file := filepath.Join(dir, "tokens")
	require.NoError(t, os.WriteFile(file, []byte("ann operator "+token+"\n"), 0o600))

	s := openWith(t, map[string]string{
		"API_CERT": cert, "API_KEY": key, "STATS_CA": tlstest.Write(t, dir, "ca.pem", authority.PEM()), "API_TOKENS_FILE": file,
	})
	require.NoError(t, s.source().CreateCollection(t.Context(), "orders"))
	s.replicate()

	url := s.relay.PageURL()
	require.True(t, strings.HasPrefix(url, "https://"), url)
	require.ErrorContains(t, chromedp.Do(openBrowser(t, trusting(t, stranger.PEM())).ctx, chromedp.Navigate(url)), "ERR_CERT_AUTHORITY_INVALID")

	b := openBrowser(t, trusting(t, authority.PEM()))

	// As a proxy hands it on, so the request is not one of this host.
	_, err := chromedp.Call(b.ctx, network.SetExtraHTTPHeaders, network.SetExtraHTTPHeadersParams{Headers: network.Headers{"X-Forwarded-For": "203.0.113.7"}})
	require.NoError(t, err)
	b.navigate(url)

	b.shows("#token-why", "a token is needed")
	require.Empty(t, b.text(`[data-figure="Captured"] span`), "nothing is shown without one")
	b.tabTo("#token-value")
	b.press(strings.Split(token, "")...)
	b.press(kb.Enter)
	b.shows("#freshness", "live")
	b.shows("#word", "OK")
	require.Equal(t, true, b.eval("isSecureContext"))

	// The stream of samples goes on by itself.
	b.eval("window.first = document.body.dataset.sample")
	b.is("document.body.dataset.sample !== window.first", true)
	s.place(bson.D{{Key: "_id", Value: 1}})
	b.says(`[data-figure="Processed"] span`, "1")
	require.InDelta(t, 0, b.eval(`performance.getEntriesByType("resource").filter((e) => e.name.endsWith("/events") && e.responseStatus === 200).length`), 0,
		"none has ended: all samples come by the one that goes on")
	require.Equal(t, "h2", b.eval(`performance.getEntriesByType("navigation")[0].nextHopProtocol`))

	// What was given once is enough to act.
	b.tabTo("#hold")
	b.press(kb.Enter)
	b.tabTo("#hold-who")
	b.press("a", "n", "n")
	b.tabTo("#hold-why")
	b.press("x", kb.Enter)
	b.shows("#held", "The flow is paused by ann (token ann) from ")
	b.requireNoTrouble()
}

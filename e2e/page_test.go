package e2e_test

import (
	"bytes"
	"flag"
	"image/png"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"
	"github.com/stretchr/testify/require"
	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/atlas-relay/atlas-relay/e2e/harness"
	relayv1 "github.com/atlas-relay/atlas-relay/proto/relay/v1"
)

var update = flag.Bool("update", false, "take the screenshots of deploy/screenshots again")

// picky makes the target refuse documents with a field "bad", once the flow is made.
func (s *scenario) picky() (lift func()) {
	s.t.Helper()

	require.NoError(s.t, s.source().CreateCollection(s.t.Context(), "orders"))

	s.made = func() { s.refuseBad(s.target(), "orders") }

	return func() { s.validate(s.target(), "orders", bson.D{}) }
}

func (s *scenario) place(document bson.D) {
	s.t.Helper()

	_, err := s.source().Collection("orders").InsertOne(s.t.Context(), document)
	require.NoError(s.t, err)
}

func quickToFail() map[string]string {
	return map[string]string{"BYPASS_VALIDATION": "false", "RETRY_DELAYS": "100ms", "MAX_RETRIES": "1"}
}

// TestPage is what an operator sees and does, with the keyboard alone: numbers move; a document that the target refuses
// is a dead letter, whose contents are shown when they are asked for and stay text; it is replayed and gone; while the
// service is away the page says since when, and goes on by itself.
func TestPage(t *testing.T) {
	s := openWith(t, quickToFail())
	lift := s.picky()
	s.replicate()

	b := browse(t, s.relay.PageURL())
	b.shows("#word", "OK")

	for i := range 50 {
		s.place(bson.D{{Key: "_id", Value: i}})
	}

	figure := func(name string) string { return `[data-figure="` + name + `"] span` }

	b.says(figure("Captured"), "50")
	b.says(figure("Processed"), "50")
	b.shows("#sum", "Adds up")
	b.shows("#charts .u-legend", "/s")
	require.InDelta(t, 4, b.eval("document.querySelectorAll('#charts canvas').length"), 0)
	require.InDelta(t, 16, b.eval("document.querySelectorAll('#tiles button').length"), 0)

	const evil = `<img src=x onerror="window.hacked=1"><script>window.hacked=1</script>`

	s.place(bson.D{{Key: "_id", Value: evil}, {Key: "bad", Value: true}, {Key: evil, Value: "<b>" + evil + "</b>"}})
	b.says("#letters-count", "1")
	b.shows("#word", "DIVERGED")
	b.shows("#letters tbody", s.db+".orders")
	b.shows("#groups", "(121)")

	// Its contents come when they are asked for, and are text.
	b.tabTo("#letters tbody button")
	b.press(kb.Enter)
	b.shows("#letter-facts", "Followers waiting")
	require.Empty(t, b.text("#letter-event"))
	require.NotContains(t, b.eval("document.documentElement.textContent"), "onerror", "masked")
	b.tabTo("#letter-show")
	b.press(kb.Enter)
	b.shows("#letter-event", evil[:19])
	b.shows("#letter-key", "onerror")
	require.Equal(t, true, b.eval("window.hacked === undefined && !document.querySelector('img, #letter b, #letter script')"), "what is in a document is no markup")
	b.press(kb.Escape)

	// Its cause is removed, and it is replayed.
	lift()
	b.tabTo("#letters tbody input")
	b.press(" ")
	b.tabTo("#replay-selected")
	b.press(kb.Enter)
	b.shows("#confirm-what", "1 of 1")
	b.tabTo("#confirm-who")
	b.press("a", "n", "n")
	b.tabTo("#confirm-why")
	b.press("m", "e", "n", "d", "e", "d", kb.Enter)
	b.shows("#letters-done", "Replayed 1 of 1")
	b.says("#letters-count", "0")
	b.says("#letters tbody", "")
	b.shows("#word", "OK")
	b.shows("#audit tbody", "mended")
	b.shows("#audit tbody", "ann from 127.0.0.1")
	s.await("the document applied", func(sample *relayv1.Stats) bool {
		return sample.GetDeadLetters() == 0 && sample.GetParkedChanges() == 0
	})

	// What nobody can be asked for is unknown, not 0.
	require.NoError(t, s.world.NATS.Stop(t.Context()))
	b.says(figure("Captured"), "unknown")
	b.shows(`[data-figure="Captured"] small`, "because NATS")
	require.NoError(t, s.world.NATS.Start())
	b.says(figure("Captured"), "51")
	b.shows("#word", "OK")

	// The service is away, and comes back.
	require.NoError(t, s.relay.Stats.Stop(t.Context()))
	b.shows("#freshness", "no data since")
	b.shows("#word", "NO DATA")
	b.shows("#reasons", "cannot be reached")
	require.NoError(t, s.relay.Stats.Start())
	b.shows("#freshness", "live")
	b.shows("#word", "OK")

	// The page is frozen: nothing moves on it.
	b.tabTo("#freeze")
	b.press(kb.Enter)
	b.shows("#freshness", "frozen")
	s.place(bson.D{{Key: "_id", Value: "later"}})
	s.await("the change applied", func(sample *relayv1.Stats) bool { return sample.GetTotalChanges() == 52 })
	b.says(figure("Captured"), "51")
	b.press(kb.Enter)
	b.says(figure("Captured"), "52")

	b.requireNoTrouble()
}

// TestPagePauses pauses a namespace, and the flow, as an operator does with the keyboard: by whom and why is said until
// it goes on, and nothing is applied meanwhile.
func TestPagePauses(t *testing.T) {
	s := open(t)
	require.NoError(t, s.source().CreateCollection(t.Context(), "orders"))
	s.replicate()

	b := browse(t, s.relay.PageURL())
	b.shows("#word", "OK")

	fill := func(selector, text string) {
		t.Helper()
		b.tabTo(selector)
		b.press(strings.Split(text, "")...)
	}

	b.tabTo("#hold")
	b.press(kb.Enter)
	b.shows("#hold-title", "Pause flow test")
	fill("#hold-who", "ann")
	fill("#hold-why", "upgrade")
	b.press(kb.Enter)
	b.shows("#held", "The flow is paused by ann from 127.0.0.1")
	b.shows("#held", "upgrade")
	b.shows("#word", "DEGRADED")
	b.shows("#partitions-summary", "16 paused with the flow")
	b.is("document.querySelector('#hold').checkVisibility()", false)

	s.place(bson.D{{Key: "_id", Value: 1}})
	b.says(`[data-figure="Pending"] span`, "1")
	b.looksRight("8-paused")

	b.tabTo("#held button")
	b.press(kb.Enter)
	b.shows("#hold-title", "Resume flow test")
	b.is("document.activeElement?.id", "hold-why") // who was asked before
	b.press("d", "o", "n", "e", kb.Enter)
	b.is("document.querySelector('#held').checkVisibility()", false)
	b.says(`[data-figure="Processed"] span`, "1")
	b.shows("#word", "OK")

	// A namespace alone; the others go on.
	b.tabTo("#hold")
	b.press(kb.Enter)
	fill("#hold-what", s.db+".orders")
	fill("#hold-why", "mend")
	b.press(kb.Enter)
	b.shows("#held", s.db+".orders is paused by ann")

	placed := 1
	b.awaits(`[data-figure="Retried"] span`, "count what is set aside", func(text string) bool { // what comes before every processor knows is applied
		placed++
		s.place(bson.D{{Key: "_id", Value: placed}})

		return text != ""
	})
	b.tabTo("#held button")
	b.press(kb.Enter)
	b.shows("#hold-title", "Resume "+s.db+".orders")
	b.press("d", "o", "n", "e", kb.Enter)
	b.says(`[data-figure="Processed"] span`, strconv.Itoa(placed))
	b.shows("#word", "OK")
	b.shows("#audit tbody", "mend")
	b.requireNoTrouble()
}

// TestPageAsksForAToken: beside a file of tokens whoever shows none may look, from this host, and change nothing.
func TestPageAsksForAToken(t *testing.T) {
	const token = "0123456789abcdef"

	file := filepath.Join(t.TempDir(), "tokens")
	require.NoError(t, os.WriteFile(file, []byte("ann operator "+token+"\n"), 0o600))

	env := quickToFail()
	env["API_TOKENS_FILE"] = file

	s := openWith(t, env)
	s.picky()
	s.replicate()
	s.place(bson.D{{Key: "_id", Value: 1}, {Key: "bad", Value: true}})

	b := browse(t, s.relay.PageURL())
	b.shows("#letters-count", "1")

	b.tabTo("#select-matching")
	b.press(kb.Enter)
	b.tabTo("#discard-selected")
	b.press(kb.Enter)
	b.shows("#token-why", "a token is needed")
	b.tabTo("#token-value")
	b.press(strings.Split(token, "")...)
	b.press(kb.Enter)
	b.shows("#confirm-what", "1 of 1")
	b.tabTo("#confirm-who")
	b.press("a")
	b.tabTo("#confirm-why")
	b.press("b")
	b.tabTo("#confirm-typed")
	b.press(strings.Split("discard 1", "")...)
	b.press(kb.Enter)
	b.shows("#letters-done", "Discarded 1 of 1")
	b.shows("#audit tbody", "a (token ann) from 127.0.0.1")
	b.shows("#letters-count", "0")
	b.requireNoTrouble()
}

// TestScreenshots takes the pictures of deploy/screenshots, with -update only: they differ from run to run.
func TestScreenshots(t *testing.T) {
	if !*update {
		t.Skip("pictures are taken with -update")
	}

	root, err := harness.Root(t.Context())
	require.NoError(t, err)

	s := openWith(t, quickToFail())
	s.picky()
	s.rate = 120
	s.write()
	require.NoError(t, s.relay.Scale(t.Context(), 2))

	b := browse(t, s.relay.PageURL())
	b.shows("#freshness", "live")

	for _, id := range []string{"a", "b", "c"} { // the traffic has numbers
		s.place(bson.D{{Key: "_id", Value: id}, {Key: "customer", Value: "Ada"}, {Key: "bad", Value: true}})
	}

	s.others = 3
	b.shows("#letters-count", "3")
	b.eval(`document.querySelector('[data-window="300"]').click()`)
	s.progress(uint64(s.rate * 90))

	for _, look := range []struct {
		name   string
		width  int64
		scheme string
	}{{"light", 1280, "light"}, {"dark", 1280, "dark"}, {"phone", 390, "dark"}} {
		b.look(look.width, 844, look.scheme)
		require.NoError(t, chromedp.Do(b.ctx, chromedp.Sleep(2*time.Second))) // the charts are drawn again

		picture, err := chromedp.Run(b.ctx, chromedp.FullScreenshot(100))
		require.NoError(t, err)

		decoded, err := png.Decode(bytes.NewReader(picture))
		require.NoError(t, err)

		var small bytes.Buffer
		require.NoError(t, (&png.Encoder{CompressionLevel: png.BestCompression}).Encode(&small, decoded))

		file := filepath.Join(root, "deploy", "screenshots", look.name+".png")
		require.NoError(t, os.MkdirAll(filepath.Dir(file), 0o755))
		require.NoError(t, os.WriteFile(file, small.Bytes(), 0o644))
	}

	require.NotContains(t, b.text("#word"), "NO DATA")
	b.requireNoTrouble()
	close(s.end)
	require.NoError(t, <-s.running)
	require.NoError(t, s.order.Finish(t.Context()))
	require.NoError(t, <-s.watched)
}

package e2e_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"
	"github.com/stretchr/testify/require"

	"github.com/atlas-relay/atlas-relay/e2e/harness"
)

// browser is a tab of a headless Chromium that shows the page of the statistics. It is driven as a person without a mouse
// drives it.
type browser struct {
	t   *testing.T
	ctx context.Context

	mu       sync.Mutex
	troubles []string // exceptions and refusals of the page, written by the browser's events
}

// browse opens a page; the test is skipped where there is no Chromium.
func browse(t *testing.T, url string) *browser {
	t.Helper()

	b := openBrowser(t)
	b.navigate(url)

	return b
}

// openBrowser opens an empty page.
func openBrowser(t *testing.T, options ...chromedp.ExecAllocatorOption) *browser {
	t.Helper()

	// The end of the test does not end it: the clean-up does, and waits for it.
	ctx, stop, err := harness.OpenTab(context.WithoutCancel(t.Context()), t.TempDir(), options...)
	if errors.Is(err, harness.ErrNoBrowser) {
		t.Skip(err)
	}

	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, stop()) })

	b := &browser{t: t, ctx: ctx}
	require.NoError(t, chromedp.Listen(ctx, b.listen))

	_, err = chromedp.Call(ctx, log.Enable, cdp.Empty{})
	require.NoError(t, err)

	return b
}

func (b *browser) navigate(url string) {
	b.t.Helper()
	require.NoError(b.t, chromedp.Do(b.ctx, chromedp.Navigate(url)))
}

// reload waits for the new page. A script that asks for it (location.reload) returns while the old page is still there, and
// what is asked next is answered by the old one, or refused by the browser.
func (b *browser) reload() {
	b.t.Helper()
	require.NoError(b.t, chromedp.Do(b.ctx, chromedp.Reload()))
}

// listen notes what must not happen in the page: an exception, something that the policy refuses.
func (b *browser) listen(event any) {
	var trouble string

	switch e := event.(type) {
	case *runtime.EventExceptionThrown:
		trouble = fmt.Sprintf("%s: %s", e.ExceptionDetails.Text, e.ExceptionDetails.Exception.Description)
	case *log.EventEntryAdded:
		if e.Entry.Source == "security" || strings.Contains(e.Entry.Text, "Content Security Policy") {
			trouble = e.Entry.Text
		}
	}

	if trouble != "" {
		b.mu.Lock()
		defer b.mu.Unlock()

		b.troubles = append(b.troubles, trouble)
	}
}

// requireNoTrouble fails for what listen noted.
func (b *browser) requireNoTrouble() {
	b.t.Helper()

	b.mu.Lock()
	defer b.mu.Unlock()

	require.Empty(b.t, b.troubles)
}

// eval returns what an expression is in the page, as JSON has it.
func (b *browser) eval(expression string) any {
	b.t.Helper()

	ctx, cancel := context.WithTimeout(b.ctx, patience)
	defer cancel()

	value, err := chromedp.Run(ctx, chromedp.Evaluate[any](expression))
	require.NoError(b.t, err, expression)

	return value
}

// textOf is the expression for what stands in an element.
func textOf(selector string) string {
	return fmt.Sprintf("document.querySelector(%s)?.textContent ?? ''", quote(selector))
}

// quote makes a string of JavaScript.
func quote(text string) string {
	quoted, _ := json.Marshal(text) //nolint:errchkjson // a string: it cannot fail

	return string(quoted)
}

// text is what stands in an element.
func (b *browser) text(selector string) string {
	b.t.Helper()

	text, _ := b.eval(textOf(selector)).(string)

	return text
}

// until asks for an expression of JavaScript until its value fulfils a condition, and returns the last value.
func (b *browser) until(expression string, condition func(value any) bool) (last any, err error) {
	ctx, cancel := context.WithTimeout(b.ctx, patience)
	defer cancel()

	err = harness.Await(ctx, 100*time.Millisecond, func(ctx context.Context) (bool, error) {
		value, err := chromedp.Run(ctx, chromedp.Evaluate[any](expression))
		if err != nil {
			return false, err
		}

		last = value

		return condition(value), nil
	})

	return last, err
}

// awaits waits until the text of an element fulfils a condition.
func (b *browser) awaits(selector, what string, condition func(text string) bool) {
	b.t.Helper()

	last, err := b.until(textOf(selector), func(value any) bool {
		text, isText := value.(string)

		return isText && condition(text)
	})
	require.NoError(b.t, err, "%s should %s, says %q; status %q, reasons %q", selector, what, last, b.text("#word"), b.text("#reasons"))
}

// is waits until an expression of JavaScript has a value.
func (b *browser) is(expression string, want any) {
	b.t.Helper()

	last, err := b.until(expression, func(value any) bool { return value == want })
	require.NoError(b.t, err, "%s should be %v, is %v", expression, want, last)
}

// says waits until an element has this text and no other.
func (b *browser) says(selector, want string) {
	b.t.Helper()

	b.awaits(selector, "be "+want, func(text string) bool { return text == want })
}

func (b *browser) shows(selector, part string) {
	b.t.Helper()

	b.awaits(selector, "show "+part, func(text string) bool { return strings.Contains(text, part) })
}

// press presses keys, one after the other.
func (b *browser) press(keys ...string) {
	b.t.Helper()

	ctx, cancel := context.WithTimeout(b.ctx, patience)
	defer cancel()

	for _, key := range keys {
		require.NoError(b.t, chromedp.Do(ctx, chromedp.KeyEvent(key)))
	}
}

// tabTo presses the tabulator until the element has the focus.
func (b *browser) tabTo(selector string) {
	b.t.Helper()

	const most = 200

	for range most {
		if b.eval(fmt.Sprintf("document.activeElement?.matches(%s) ?? false", quote(selector))) == true {
			return
		}

		b.press(kb.Tab)
	}

	require.Fail(b.t, "the keyboard does not get there", "%s, it ends at %v", selector, b.eval("document.activeElement.outerHTML"))
}

// look makes the page look as on such a screen.
func (b *browser) look(width, height int64, scheme string) {
	b.t.Helper()

	require.NoError(b.t, chromedp.Do(b.ctx, chromedp.EmulateViewport(width, height)))

	_, err := chromedp.Call(b.ctx, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{
		Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: scheme}},
	})
	require.NoError(b.t, err)
}

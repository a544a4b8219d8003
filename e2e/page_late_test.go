package e2e_test

import (
	"fmt"
	"strconv"
	"testing"

	"github.com/chromedp/chromedp/kb"
	"github.com/stretchr/testify/require"
	"go.mongodb.org/mongo-driver/v2/bson"
)

// holdAnswers makes the page wait for the answers of addresses that contain window.hold, until window.release() is called.
// window.held() tells how many it waits for, window.late counts those that came after that.
const holdAnswers = `(() => {
  const ask = window.fetch;
  const held = [];
  window.late = 0;
  window.held = () => held.length;
  window.release = () => { window.hold = ''; held.splice(0).forEach((go) => go()); return true; };
  window.fetch = (path, options) => {
    if (!window.hold || !String(path).includes(window.hold)) return ask(path, options);
    return new Promise((done) => held.push(async () => {
      const response = await ask(path, options);
      const json = await response.json();
      done({ ok: true, json: async () => { setTimeout(() => window.late++, 0); return json; } });
    }));
  };
  return true;
})()`

// browseLetters opens the page of a flow with so many dead letters, and waits until all are counted and the first ones listed.
func browseLetters(t *testing.T, letters int) (*scenario, *browser) {
	t.Helper()

	s := openWith(t, quickToFail())
	s.picky()
	s.replicate()

	for n := range letters {
		s.place(bson.D{{Key: "_id", Value: n}, {Key: "bad", Value: true}})
	}

	b := browse(t, s.relay.PageURL())
	b.says("#letters-count", strconv.Itoa(letters))
	b.is("document.querySelectorAll('#letters tbody tr').length", float64(min(letters, 50)))

	return s, b
}

// TestPageLateAnswers: what was asked for a dead letter is never shown as another's, nor in a dialog that was closed.
func TestPageLateAnswers(t *testing.T) {
	_, b := browseLetters(t, 2)

	name := func(row string) string {
		text, _ := b.eval("document.querySelectorAll('#letters tbody input')[" + row + "].value").(string)

		return text
	}
	first, second := name("0"), name("1")
	details := func(row string) {
		b.eval("document.querySelectorAll('#letters tbody button')[" + row + "].click() ?? true")
	}

	b.eval(holdAnswers)
	b.eval("window.hold = 'view='") // one dead letter
	details("0")
	b.press(kb.Escape)
	b.eval("window.hold = ''")
	details("1")
	b.shows("#letter-facts", second)
	b.eval("window.release()")
	b.is("window.late", 1.0)
	require.Contains(t, b.text("#letter-facts"), second)
	require.NotContains(t, b.text("#letter-facts"), first)

	b.eval("window.hold = 'view='")
	b.eval("document.querySelector('#letter-show').click() ?? true")
	b.press(kb.Escape)
	b.eval("window.release()")
	b.is("window.late", 2.0)
	require.Empty(t, b.text("#letter-event"))
	b.requireNoTrouble()
}

// TestPageDialogsOpenedAgain right when they were closed: the browser tells of the closing after the dialog shows something
// else. It is filled all the same.
func TestPageDialogsOpenedAgain(t *testing.T) {
	_, b := browseLetters(t, 2)

	opens := func(dialog, button string) { // twice, in one task of the browser
		b.eval(fmt.Sprintf(`(() => {
			const press = () => document.querySelector(%[2]q).click();
			press();
			document.querySelector(%[1]q).close();
			press();
			return true;
		})()`, dialog, button))
	}

	opens("#letter", "#letters tbody tr:first-child button")
	b.shows("#letter-facts", "DocumentValidationFailure")

	opens("#confirm", "#letter-replay")
	b.shows("#confirm-what", "This will replay 1 of 1")
	b.press(kb.Escape)
	b.is("document.querySelector('#confirm').open", false)

	opens("#detail", "#tiles button")
	b.shows("#detail-title", "Partition 0")

	before := b.text("#detail-facts")
	b.awaits("#detail-facts", "follow the samples", func(text string) bool { return text != before })

	b.press(kb.Escape)
	b.is("document.querySelector('#detail').open", false)
	b.requireNoTrouble()
}

// TestPageRowsStay where they are while dead letters come: whoever is about to press a key there does not miss it, and what
// is selected stays selected.
func TestPageRowsStay(t *testing.T) {
	const many = 60 // more than a page of the list

	s, b := browseLetters(t, many)
	b.is(`(() => {
		const more = document.querySelector("#letters-more");
		if (!more.hidden) more.click();
		return document.querySelectorAll("#letters tbody tr").length;
	})()`, float64(many))
	b.eval("document.querySelectorAll('#letters tbody tr').forEach((row) => { row.dataset.stays = 'yes'; }) ?? true")
	b.eval("document.querySelectorAll('#letters tbody input').forEach((box) => box.click()) ?? true")
	b.shows("#selection", "60 selected.")

	s.place(bson.D{{Key: "_id", Value: many}, {Key: "bad", Value: true}})
	b.is("!document.querySelector('#letters-more').hidden", true)
	require.InDelta(t, many, b.eval("document.querySelectorAll('#letters tbody tr[data-stays]').length"), 0, "the latest is on the next page")
	b.shows("#selection", "60 selected.")
	b.requireNoTrouble()
}

// TestPageMoreForgetsNothing: whoever asks for a page more while the list is asked for anew, because the number of dead letters
// has changed, gets the page; the answer of before is late. The list is asked for once more.
func TestPageMoreForgetsNothing(t *testing.T) {
	s, b := browseLetters(t, 60)

	b.eval(holdAnswers)
	b.eval("window.hold = 'deadLetters?'")                                            // the list
	b.eval("(() => { const now = Date.now(); Date.now = () => now; return now; })()") // else it is asked for every 30 s

	name, _ := b.eval("document.querySelector('#letters tbody input').value").(string)
	_, _, err := s.relay.Ctl(t.Context(), "dead-letters", "discard", name, "--reason", "one less", "--yes")
	require.NoError(t, err)

	b.says("#letters-count", "59")
	b.is("window.held()", 1.0)
	b.eval("document.querySelector('#letters-more').click() ?? true")
	b.is("window.held()", 2.0)
	b.eval("window.release()")
	b.is("document.querySelectorAll('#letters tbody tr').length > 50", true)
	b.is("document.querySelector('#letters tbody input').value !== "+quote(name), true)
	b.requireNoTrouble()
}

package e2e_test

import (
	"strings"
	"testing"

	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"
	"github.com/stretchr/testify/require"
	"go.mongodb.org/mongo-driver/v2/bson"

	relayv1 "github.com/atlas-relay/atlas-relay/proto/relay/v1"
)

// confirm answers the question of an action, and types the phrase where one is asked for.
func (b *browser) confirm(what, why, phrase string) {
	b.t.Helper()

	b.shows("#confirm-what", what)

	if b.eval("document.querySelector('#confirm-who').value === ''") == true {
		b.tabTo("#confirm-who")
		b.press("a", "n", "n")
	}

	b.tabTo("#confirm-why")
	b.press(strings.Split(why, "")...)

	if phrase != "" {
		b.tabTo("#confirm-typed")
		b.press(strings.Split(phrase, "")...)
	}

	b.press(kb.Enter)
}

// TestPageDeadLetters is an operator with many dead letters and no mouse: one is looked at beside the target's document;
// all that match are replayed, more than are listed, and fail again; their cause is removed; one is refetched and the others
// are replayed, and nothing is left.
func TestPageDeadLetters(t *testing.T) {
	const many = 60 // more than a page of the list

	s := openWith(t, quickToFail())
	lift := s.picky()
	s.replicate()

	s.place(bson.D{{Key: "_id", Value: "x"}, {Key: "v", Value: 1}})
	s.await("the document applied", func(sample *relayv1.Stats) bool { return sample.GetProcessedChanges() == 1 })

	_, err := s.source().Collection("orders").UpdateByID(t.Context(), "x", bson.D{{Key: "$set", Value: bson.D{{Key: "bad", Value: true}}}})
	require.NoError(t, err)

	b := browse(t, s.relay.PageURL())
	b.shows("#letters tbody", "update")

	for n := range many {
		s.place(bson.D{{Key: "_id", Value: n}, {Key: "bad", Value: true}})
	}

	b.says("#letters-count", "61")

	// What the target has stands beside the change, and what differs is marked.
	b.tabTo("#letters tbody button")
	b.press(kb.Enter)
	b.shows("#letter-facts", "update")
	require.Empty(t, b.text("#letter-target"), "masked")
	b.tabTo("#letter-show")
	b.press(kb.Enter)
	b.shows("#letter-target", `"v": 1`)
	require.Equal(t, "The target differs in bad", b.text("#letter-differs"))
	require.Equal(t, `      "bad": true`, b.text("#letter-event mark"))
	b.press(kb.Escape)
	require.Empty(t, b.text("#letter-target"))

	// All that match, of which only some are listed.
	b.tabTo("#select-matching")
	b.press(kb.Enter)
	b.shows("#selection", "listed or not")
	b.tabTo("#replay-selected")
	b.press(kb.Enter)
	b.confirm("61 of 61", "try", "replay 61")
	b.shows("#letters-done", "Replayed 61 of 61")
	b.says("#operation-counts", "61 failed again")
	b.shows("#operation-failures", "(121)")
	b.shows("#operation-failures", "and 56 more")

	// It is still there when the page is loaded again.
	require.NoError(t, chromedp.Do(b.ctx, chromedp.Reload()))
	b.says("#operation-counts", "61 failed again")
	b.shows("#operation-title", "Replay done")
	b.tabTo("#operation-failed")
	b.press(kb.Enter)
	b.shows("#letters-of-text", "Only what failed again")

	// The cause is removed: one takes the source's document, the others are replayed.
	lift()
	b.shows("#letters tbody", "update")
	b.tabTo("#letters tbody input")
	b.press(" ")
	b.says("#selection", "1 selected.")
	b.tabTo("#refetch-selected")
	b.press(kb.Enter)
	b.confirm("refetch 1 of 1", "older", "")
	b.says("#operation-counts", "1 applied")
	b.says("#letters-count", "60")
	require.True(t, s.targetHas(bson.D{{Key: "_id", Value: "x"}, {Key: "v", Value: 1}, {Key: "bad", Value: true}}))

	b.tabTo("#select-matching")
	b.press(kb.Enter)
	b.tabTo("#replay-selected")
	b.press(kb.Enter)
	b.confirm("60 of 60", "mended", "replay 60")
	b.says("#operation-counts", "60 applied")
	b.says("#letters-count", "0")
	b.says("#letters tbody", "")
	b.shows("#word", "OK")
	b.shows("#audit tbody", "dead-letters refetch")
	b.requireNoTrouble()
	s.equal()
}

// targetHas tells whether the target's orders have exactly this document.
func (s *scenario) targetHas(document bson.D) bool {
	s.t.Helper()

	want, err := bson.Marshal(document)
	require.NoError(s.t, err)

	got, err := s.target().Collection("orders").FindOne(s.t.Context(), document[:1]).Raw()
	require.NoError(s.t, err)

	return string(want) == string(got)
}

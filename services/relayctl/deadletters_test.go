package main

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/encoding/protojson"

	relayv1 "github.com/atlas-relay/atlas-relay/proto/relay/v1"
)

func utc() []string { return []string{"TZ=UTC", "RELAY_OPERATOR=ann"} }

func TestDeadLettersList(t *testing.T) {
	t.Parallel()

	hostile := letter(2)
	hostile.Error = "a\x1b[2Jb\nc\td"
	broken := &relayv1.DeadLetter{Name: "x", UnreadableBecause: "the record was edited by hand"}
	server := serve(t, &service{letters: letterService{letters: []*relayv1.DeadLetter{letter(1), hostile, broken}}})

	r := relayctl(t, utc(), "dead-letters", "list", "--server", server)
	require.Equal(t, 0, r.code, r.errOut)
	requireGolden(t, "dead-letters-list", r.out)
	require.Contains(t, r.errOut, "next: relayctl dead-letters show NAME")

	r = relayctl(t, utc(), "dead-letters", "list", "--server", server, "-o", "json")
	require.Equal(t, 0, r.code, r.errOut)
	requireGolden(t, "dead-letters-list-json", r.out)
	require.Empty(t, r.errOut)

	r = relayctl(t, utc(), "dead-letters", "list", "--server", serve(t, new(service)))
	require.Equal(t, result{0, "", "nothing matches\n"}, r)
}

func TestDeadLettersListReadsAllPages(t *testing.T) {
	t.Parallel()

	s := new(service)
	for n := range 2500 {
		s.letters.letters = append(s.letters.letters, letter(n))
	}

	server := serve(t, s)

	for limit, want := range map[string]int{"0": 2500, "1001": 1001, "2500": 2500, "9999": 2500} {
		r := relayctl(t, nil, "dead-letters", "list", "--server", server, "--limit", limit, "-o", "json")
		require.Equal(t, 0, r.code, r.errOut)

		got := new(relayv1.ListDeadLettersResponse)
		require.NoError(t, protojson.Unmarshal([]byte(r.out), got))
		require.Len(t, got.GetDeadLetters(), want)
		require.Equal(t, want < 2500, got.GetNextPageToken() != "")
	}

	r := relayctl(t, nil, "dead-letters", "list", "--server", server)
	require.Len(t, strings.Split(r.out, "\n"), 1+100+1)
	require.Contains(t, r.errOut, "more than these 100")
}

func TestDeadLettersListFilters(t *testing.T) {
	t.Parallel()

	s := new(service)
	r := relayctl(t, []string{"FLOW=f"}, "dead-letters", "list", "--server", serve(t, s), "--namespace", "shop.a.b",
		"--since", "2026-11-25T12:00:00+01:00", "--until", "2h", "--error-code", "0", "--state", "all")
	require.Equal(t, 0, r.code, r.errOut)

	got, ok := s.letters.requests()[0].(*relayv1.ListDeadLettersRequest)
	require.True(t, ok)
	require.Equal(t, "f", got.GetFlow())
	require.Equal(t, "shop", got.GetFilter().GetNamespace().GetDatabase())
	require.Equal(t, "a.b", got.GetFilter().GetNamespace().GetCollection())
	require.Equal(t, time.Date(2026, 11, 25, 11, 0, 0, 0, time.UTC), got.GetFilter().GetSince().AsTime())
	require.WithinDuration(t, time.Now().Add(-2*time.Hour), got.GetFilter().GetUntil().AsTime(), time.Minute)
	require.NotNil(t, got.GetFilter().ErrorCode, "0 is a code like any other")
	require.Len(t, got.GetStates(), 6)

	r = relayctl(t, nil, "dead-letters", "list", "--since", "yesterday", "--until", "-2h", "--namespace", "shop.")
	require.Equal(t, 2, r.code)

	for _, flag := range []string{"--since", "--until", "--namespace"} {
		require.Contains(t, r.errOut, flag, "all mistakes at once")
	}
}

func TestDeadLettersShow(t *testing.T) {
	t.Parallel()

	content := &relayv1.GetDeadLetterResponse{
		DeadLetter: letter(1), DocumentKeyJson: `{"_id":1}`, EventBson: []byte{5, 0, 0, 0, 0}, FollowersWaiting: 3,
		EventJson:  `{"operationType":"insert","fullDocument":{"_id":1,"text":"a` + "\u009b" + `b"}}`,
		TargetJson: `{"_id":1,"text":"old"}`, DifferingPaths: []string{"te\u009bxt"},
	}
	server := serve(t, &service{letters: letterService{content: content}})

	r := relayctl(t, utc(), "dead-letters", "show", "atlas-to-local/x", "--server", server)
	require.Equal(t, 0, r.code, r.errOut)
	requireGolden(t, "dead-letters-show", r.out)

	r = relayctl(t, utc(), "dead-letters", "show", "x", "--server", server, "-o", "json")
	require.Equal(t, 0, r.code, r.errOut)
	requireGolden(t, "dead-letters-show-json", r.out)

	r = relayctl(t, nil, "dead-letters", "show", "x", "--server", server, "--bson")
	require.Equal(t, result{0, "\x05\x00\x00\x00\x00", ""}, r)

	large := &relayv1.GetDeadLetterResponse{DeadLetter: letter(1), EventBson: make([]byte, 64<<20), EventJsonMissingBecause: "the event has many bytes"}
	r = relayctl(t, nil, "dead-letters", "show", "x", "--server", serve(t, &service{letters: letterService{content: large}}))
	require.Equal(t, 0, r.code, r.errOut)
	require.Contains(t, r.out, "not shown: the event has many bytes; add --bson")

	gone := &relayv1.GetDeadLetterResponse{DeadLetter: letter(1), EventMissingBecause: "it was dropped"}
	r = relayctl(t, nil, "dead-letters", "show", "x", "--bson", "--server", serve(t, &service{letters: letterService{content: gone}}))
	require.Equal(t, 1, r.code)
	require.Empty(t, r.out)
	require.Contains(t, r.errOut, "it was dropped")

	r = relayctl(t, nil, "dead-letters", "show", "x", "--server", serve(t, new(service)))
	require.Equal(t, 2, r.code)
	require.Contains(t, r.errOut, "no such record")
}

func TestDeadLettersShowARun(t *testing.T) {
	t.Parallel()

	run := letter(1)
	run.Size, run.RunEvents, run.RunEnd = 0, 4711, &relayv1.Position{Seconds: 1_800_000_001}
	server := serve(t, &service{letters: letterService{
		letters: []*relayv1.DeadLetter{run},
		content: &relayv1.GetDeadLetterResponse{DeadLetter: run, EventMissingBecause: "it was not kept"},
	}})

	r := relayctl(t, utc(), "dead-letters", "show", run.GetName(), "--server", server)
	require.Equal(t, 0, r.code, r.errOut)
	require.Contains(t, r.out, "4711 changes that are counted and not kept, the last at 1800000001.0.0")
	require.NotContains(t, r.out, "size")

	r = relayctl(t, utc(), "dead-letters", "list", "--server", server)
	require.Equal(t, 0, r.code, r.errOut)
	require.Contains(t, r.out, "run of 4711")
}

func refusal(reason relayv1.DeadLetterRefusalReason) *relayv1.DeadLetterOutcome {
	return &relayv1.DeadLetterOutcome{Matched: 3, Changed: 2, Refused: 1, Refusals: []*relayv1.DeadLetterRefusal{
		{Name: "atlas-to-local/x", Reason: reason, Message: "why"},
	}}
}

func TestDeadLettersActions(t *testing.T) {
	t.Parallel()

	for name, test := range map[string]struct {
		outcome *relayv1.DeadLetterOutcome
		args    []string
		code    int
		golden  string
		errOut  string
	}{
		"replay": {&relayv1.DeadLetterOutcome{Matched: 2, Changed: 2}, []string{"replay", "a", "b"}, 0, "dead-letters-replay", ""},
		"replayed before": {
			refusal(relayv1.DeadLetterRefusalReason_DEAD_LETTER_REFUSAL_REASON_NOT_DEAD), []string{"replay", "a", "b", "c"}, 0, "dead-letters-replay-partly", "",
		},
		"no event": {
			refusal(relayv1.DeadLetterRefusalReason_DEAD_LETTER_REFUSAL_REASON_NO_EVENT), []string{"replay", "a", "b", "c"}, 1, "dead-letters-replay-partly", "",
		},
		"unknown name": {
			refusal(relayv1.DeadLetterRefusalReason_DEAD_LETTER_REFUSAL_REASON_NOT_FOUND),
			[]string{"replay", "a", "b", "c"},
			2, "dead-letters-replay-partly",
			"relayctl: names that no record has: 1\n  next: relayctl dead-letters list --state all shows the names\n",
		},
		"as JSON": {
			refusal(relayv1.DeadLetterRefusalReason_DEAD_LETTER_REFUSAL_REASON_NO_EVENT), []string{"replay", "a", "b", "c", "-o", "json"}, 1, "dead-letters-replay-json", "",
		},
		"dry run":     {&relayv1.DeadLetterOutcome{Matched: 9, Changed: 9}, []string{"discard", "--all", "--dry-run"}, 0, "dead-letters-discard-dry-run", ""},
		"discard all": {&relayv1.DeadLetterOutcome{Matched: 200, Refused: 200}, []string{"discard", "--all", "--yes"}, 0, "dead-letters-discard", ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()

			s := &service{letters: letterService{outcome: test.outcome}}
			r := relayctl(t, utc(), append([]string{"dead-letters", "--server", serve(t, s)}, test.args...)...)
			require.Equal(t, test.code, r.code, r.errOut)
			requireGolden(t, test.golden, r.out)
			require.Equal(t, test.errOut, r.errOut)
			require.Len(t, s.letters.requests(), 1)
		})
	}
}

func TestDeadLettersActionSaysWhoAndWhy(t *testing.T) {
	t.Parallel()

	s := &service{letters: letterService{outcome: new(relayv1.DeadLetterOutcome)}}
	server := serve(t, s)

	relayctl(t, []string{"FLOW=f", "RELAY_OPERATOR=ann"}, "dead-letters", "replay", "b", "a", "b", "--reason", "why", "--server", server)
	relayctl(t, nil, "dead-letters", "discard", "--all", "--namespace", "shop", "--error-code", "121", "--as", "bob", "--yes", "--server", server)

	asked := s.letters.requests()
	require.Len(t, asked, 2)

	replayed, ok := asked[0].(*relayv1.ReplayDeadLettersRequest)
	require.True(t, ok)
	require.Equal(t, "f", replayed.GetFlow())
	require.Equal(t, "ann", replayed.GetRequestedBy())
	require.Equal(t, "why", replayed.GetReason())
	require.Equal(t, []string{"a", "b"}, replayed.GetSelection().GetNames().GetNames())
	require.False(t, replayed.GetValidateOnly())

	discarded, ok := asked[1].(*relayv1.DiscardDeadLettersRequest)
	require.True(t, ok)
	require.Equal(t, "bob", discarded.GetRequestedBy())
	require.Equal(t, "shop", discarded.GetSelection().GetFilter().GetNamespace().GetDatabase())
	require.Equal(t, int32(121), discarded.GetSelection().GetFilter().GetErrorCode())
	require.Nil(t, discarded.GetSelection().GetFilter().GetUntil())
}

func TestDeadLettersAskNobodyWhereNobodyIs(t *testing.T) {
	t.Parallel()

	s := &service{letters: letterService{outcome: &relayv1.DeadLetterOutcome{Matched: 2, Changed: 2}}}
	server := serve(t, s)

	for name, args := range map[string][]string{
		"discard":    {"discard", "a"},
		"replay all": {"replay", "--all"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()

			var out, errOut bytes.Buffer

			code := execute(t.Context(), streams{in: strings.NewReader(args[0] + " 2\n"), out: &out, err: &errOut},
				append([]string{"dead-letters", "--server", server}, args...), nil)
			require.Equal(t, 2, code)
			require.Contains(t, errOut.String(), "next: add --yes")
			require.Empty(t, s.letters.requests())
		})
	}
}

func TestDeadLettersConfirmation(t *testing.T) {
	t.Parallel()

	s := &service{letters: letterService{outcome: &relayv1.DeadLetterOutcome{Matched: 3, Changed: 2}}}
	server := serve(t, s)
	discard := []string{"dead-letters", "discard", "a", "b", "c", "--server", server}

	// The program's standard input is /dev/null here: a character device, at which nobody is.
	r := relayctl(t, nil, discard...)
	require.Equal(t, 2, r.code)
	require.Contains(t, r.errOut, "nobody is there to confirm")
	require.Empty(t, s.letters.requests())

	x := openTerminal(t, nil, discard...)
	x.shows("This will discard 2 of 3 records. Type discard 2 to go on: ")
	x.press("y\r")
	x.shows("not confirmed, nothing was changed")
	x.ends(2)
	require.Len(t, s.letters.requests(), 1)

	asked, ok := s.letters.requests()[0].(*relayv1.DiscardDeadLettersRequest)
	require.True(t, ok)
	require.True(t, asked.GetValidateOnly())

	// What dies while a person reads is not part of what they confirm.
	x = openTerminal(t, nil, "dead-letters", "replay", "--all", "--server", server)
	x.shows("Type replay 2 to go on: ")
	x.press("\x04") // the end of the input
	x.shows("not confirmed, nothing was changed")
	x.ends(2)

	replayAll, ok := s.letters.requests()[1].(*relayv1.ReplayDeadLettersRequest)
	require.True(t, ok)
	require.WithinDuration(t, time.Now(), replayAll.GetSelection().GetFilter().GetUntil().AsTime(), time.Minute)

	x = openTerminal(t, nil, discard...)
	x.shows("Type discard 2 to go on: ")
	x.press("discard 2\r")
	x.shows("discarded: 2 of 3")
	require.Len(t, s.letters.requests(), 4)
}

func TestDeadLettersManyNames(t *testing.T) {
	t.Parallel()

	s := &service{letters: letterService{outcome: &relayv1.DeadLetterOutcome{Matched: 1, Changed: 1}}}

	args := []string{"dead-letters", "replay", "--server", serve(t, s)}
	for n := range 2001 {
		args = append(args, letter(n).GetName())
	}

	r := relayctl(t, nil, args...)
	require.Equal(t, 0, r.code, r.errOut)
	require.Equal(t, "replayed: 3 of 3\n", r.out)
	require.Len(t, s.letters.requests(), 3)
}

func TestDeadLettersCompleteNames(t *testing.T) {
	t.Parallel()

	s := &service{letters: letterService{letters: []*relayv1.DeadLetter{letter(1), letter(2)}}}
	r := relayctl(t, nil, "__complete", "dead-letters", "show", "--server", serve(t, s), "")
	require.Equal(t, 0, r.code)
	require.Contains(t, r.out, letter(2).GetName())
}

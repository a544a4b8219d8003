package main

import (
	"bytes"
	"context"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/types/known/timestamppb"

	relayv1 "github.com/atlas-relay/atlas-relay/proto/relay/v1"
)

// underWay is an operation of ten records of which so many wait, and so many failed again.
func underWay(waiting, failed uint64) *relayv1.DeadLetterOperation {
	o := &relayv1.DeadLetterOperation{
		Name: "f/1/operation", Action: "replay", Who: "ann from 10.0.0.1:5", Why: "validator \x1b[2Jrelaxed", Selection: "all with error code 121",
		Time:    timestamppb.New(time.Date(2026, 11, 25, 12, 0, 0, 0, time.UTC)),
		Outcome: &relayv1.DeadLetterOutcome{Matched: 10, Changed: 10}, Waiting: waiting, Applied: 10 - waiting - failed, FailedAgain: failed, Done: waiting == 0,
	}

	for n := range failed {
		o.Failures = append(o.Failures, letter(int(n)))
	}

	return o
}

func TestDeadLettersWait(t *testing.T) {
	t.Parallel()

	for name, test := range map[string]struct {
		verb       string
		operations []*relayv1.DeadLetterOperation
		code       int
		golden     string
	}{
		"all applied":     {"replay", []*relayv1.DeadLetterOperation{underWay(10, 0), underWay(4, 0), underWay(0, 0)}, 0, "dead-letters-wait"},
		"some fail again": {"refetch", []*relayv1.DeadLetterOperation{underWay(10, 0), nil, nil, underWay(3, 1), underWay(0, 2)}, 1, "dead-letters-wait-failed"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()

			s := &service{letters: letterService{outcome: &relayv1.DeadLetterOutcome{Matched: 10, Changed: 10}, operations: test.operations}}
			r := relayctl(t, utc(), "dead-letters", test.verb, "--all", "--yes", "--wait", "--server", serve(t, s))
			require.Equal(t, test.code, r.code, r.errOut)
			requireGolden(t, test.golden, r.out)
			require.Contains(t, r.errOut, "0 %: 0 of 10, 10 waiting, 0 failed again\n", "plain lines where no terminal is")
			require.Equal(t, test.code == 1, strings.Contains(r.errOut, "the stats service is away"), "it is asked again")
		})
	}
}

func TestDeadLettersWaitAsJSON(t *testing.T) {
	t.Parallel()

	s := &service{letters: letterService{outcome: &relayv1.DeadLetterOutcome{Matched: 10, Changed: 10}, operations: []*relayv1.DeadLetterOperation{underWay(0, 2)}}}
	r := relayctl(t, utc(), "dead-letters", "replay", "--all", "--yes", "--wait", "-o", "json", "--server", serve(t, s))
	require.Equal(t, 1, r.code, r.errOut)

	got := new(relayv1.DeadLetterOperation)
	require.NoError(t, protojson.Unmarshal([]byte(r.out), got), "one object")
	require.Equal(t, uint64(2), got.GetFailedAgain())
}

func TestDeadLettersWithoutWaitSayHowToLook(t *testing.T) {
	t.Parallel()

	s := &service{letters: letterService{outcome: &relayv1.DeadLetterOutcome{Matched: 2, Changed: 2}, operations: []*relayv1.DeadLetterOperation{underWay(2, 0)}}}
	r := relayctl(t, utc(), "dead-letters", "replay", "a", "b", "--server", serve(t, s))
	require.Equal(t, result{0, "replayed: 2 of 2\n", "next: relayctl dead-letters progress f/1/operation --wait\n"}, r)
}

func TestDeadLettersProgress(t *testing.T) {
	t.Parallel()

	early := underWay(0, 0)
	early.FailedBecause, early.Outcome = "the statistics service ended", nil
	server := func(o *relayv1.DeadLetterOperation) string {
		return serve(t, &service{letters: letterService{operations: []*relayv1.DeadLetterOperation{o}}})
	}

	r := relayctl(t, utc(), "dead-letters", "progress", "f/1/operation", "--server", server(underWay(4, 0)))
	require.Equal(t, 0, r.code, r.errOut)
	require.Contains(t, r.out, "done           not yet")

	r = relayctl(t, utc(), "dead-letters", "progress", "f/1/operation", "--server", server(early))
	require.Equal(t, 1, r.code, r.errOut)
	require.Contains(t, r.out, "ended early    the statistics service ended; the same command does the rest")

	r = relayctl(t, utc(), "dead-letters", "progress", "other", "--server", server(early))
	require.Equal(t, 2, r.code, r.errOut)
	require.Contains(t, r.errOut, "no such operation")
}

// TestDeadLettersWaitIsInterrupted: Ctrl-C ends the waiting and says how to go on with it.
func TestDeadLettersWaitIsInterrupted(t *testing.T) {
	t.Parallel()

	s := &service{letters: letterService{operations: []*relayv1.DeadLetterOperation{underWay(4, 0)}}}

	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()

	var out bytes.Buffer

	errOut := &watched{wanted: "4 waiting", then: cancel}
	code := execute(ctx, streams{in: strings.NewReader(""), out: &out, err: errOut},
		[]string{"dead-letters", "progress", "f/1/operation", "--wait", "--server", serve(t, s)}, nil)
	require.Equal(t, 1, code)
	require.Contains(t, errOut.text.String(), "interrupted; it goes on: relayctl dead-letters progress f/1/operation --wait")
	require.Empty(t, out.String())
}

// watched does something once a text was written.
type watched struct {
	text   bytes.Buffer
	wanted string
	then   func()
}

func (w *watched) Write(p []byte) (int, error) {
	n, err := w.text.Write(p)
	if strings.Contains(w.text.String(), w.wanted) {
		w.then()
	}

	return n, err
}

// TestDeadLettersProgressOnATerminal: one line that changes, from the first moment on, and that is gone at the end.
func TestDeadLettersProgressOnATerminal(t *testing.T) {
	t.Parallel()

	if _, err := exec.LookPath("script"); err != nil {
		t.Skip("there is no script(1) to make a terminal")
	}

	s := &service{letters: letterService{
		outcome: &relayv1.DeadLetterOutcome{Matched: 10, Changed: 10}, operations: []*relayv1.DeadLetterOperation{underWay(10, 0), underWay(4, 0), underWay(0, 0)},
	}}
	r := onTerminal(t, "dead-letters", "replay", "--all", "--yes", "--wait", "--server", serve(t, s))
	require.Contains(t, r, "replay …")
	require.Less(t, strings.Index(r, "replay …"), strings.Index(r, "replayed: 10 of 10"))
	require.Contains(t, r, "\r\x1b[K60 %: 6 of 10, 4 waiting, 0 failed again\r\x1b[K")
}

// onTerminal runs the program on a terminal and returns what that was told.
func onTerminal(t *testing.T, args ...string) string {
	t.Helper()

	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()

	cmd := exec.CommandContext(ctx, "script", "-qec", strings.Join(append([]string{os.Args[0]}, args...), " "), "/dev/null")
	cmd.Env = []string{asProgram + "=1", "HOME=" + t.TempDir(), "RELAY_OPERATOR=ann", "TZ=UTC"}

	out, err := cmd.CombinedOutput()
	require.NoError(t, err, string(out))

	return string(out)
}
